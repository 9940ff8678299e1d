// SPDX-License-Identifier: MIT
// The echo of runtimes.bats in C++, with Boost.Asio: everything in one event loop.
#include <array>
#include <boost/asio.hpp>
#include <functional>
#include <iostream>
#include <list>
#include <memory>
#include <string>

using namespace boost::asio;
using boost::system::error_code;
using ip::tcp;
using ip::udp;

static io_context loop;
static const auto here = ip::make_address("127.0.0.1");
static int right, left = 70;

static void judged(bool is_right)
{
	right += is_right;
	if (--left == 0)
		loop.stop();
}

struct Stream {
	tcp::socket socket{loop};
	std::string data;
};

static void accept(tcp::acceptor &acceptor)
{
	auto one = std::make_shared<Stream>();
	acceptor.async_accept(one->socket, [&acceptor, one](error_code) {
		async_read(one->socket, dynamic_buffer(one->data), [one](error_code, size_t) {
			async_write(one->socket, buffer(one->data), [one](error_code, size_t) {});
		});
		accept(acceptor);
	});
}

static void reflect(udp::socket &socket)
{
	static std::array<char, 10> data;
	static udp::endpoint from;
	socket.async_receive_from(buffer(data), from, [&socket](error_code, size_t n) {
		socket.send_to(buffer(data, n), from);
		reflect(socket);
	});
}

static void stream(tcp::endpoint server, char n)
{
	auto one = std::make_shared<Stream>();
	auto sent = std::make_shared<std::string>(20000, n);
	one->socket.async_connect(server, [one, sent](error_code error) {
		if (error)
			return judged(false);
		std::cout << one->socket.local_endpoint().port() << '\n';
		async_write(one->socket, buffer(*sent), [one, sent](error_code, size_t) {
			one->socket.shutdown(tcp::socket::shutdown_send);
			async_read(one->socket, dynamic_buffer(one->data),
				[one, sent](error_code, size_t) { judged(one->data == *sent); });
		});
	});
}

static void datagram(udp::endpoint server, char n)
{
	auto socket = std::make_shared<udp::socket>(loop, udp::v4());
	auto data = std::make_shared<char>();
	socket->send_to(buffer(&n, 1), server);
	std::cout << socket->local_endpoint().port() << '\n';
	socket->async_receive(buffer(data.get(), 1),
		[socket, data, n](error_code, size_t) { judged(*data == n); });
}

int main()
{
	tcp::acceptor acceptor(loop, {here, 0});
	udp::socket reflector(loop, {here, 0});
	std::cout << acceptor.local_endpoint().port() << '\n'
		  << reflector.local_endpoint().port() << '\n';
	accept(acceptor);
	reflect(reflector);
	for (int n = 0; n < 70; n++)
		n < 50 ? stream(acceptor.local_endpoint(), n)
		       : datagram(reflector.local_endpoint(), n);
	loop.run();
	std::cout << right << " right\n";
}
