// SPDX-License-Identifier: MIT
// Fetches a URL many times at once into files: Fetch NUMBER URL
import java.net.URI;
import java.net.http.*;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

class Fetch {
	static CompletableFuture<?> fetch(HttpClient client, String url, int i) {
		return client.sendAsync(HttpRequest.newBuilder(URI.create(url + "?" + i)).build(),
			HttpResponse.BodyHandlers.ofFile(Path.of("out." + i)));
	}

	public static void main(String[] a) {
		var client = HttpClient.newHttpClient();
		var all = IntStream.rangeClosed(1, Integer.parseInt(a[0]))
			.mapToObj(i -> fetch(client, a[1], i));
		CompletableFuture.allOf(all.toArray(CompletableFuture[]::new)).join();
	}
}
