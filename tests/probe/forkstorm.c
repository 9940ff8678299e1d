// SPDX-License-Identifier: MIT
// Forks children while THREADS threads connect and close: half of the children close everything,
// all execute true. Prints how many children ended badly, and how many connects failed.
#define _GNU_SOURCE 1
#include <err.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};
static atomic_bool over;
static atomic_int failed;

// Opens a connection that leaves no TIME_WAIT. Returns its descriptor; sets *ret_result to
// connect's.
static int dial(int *ret_result)
{
	struct linger reset = {.l_onoff = 1};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	*ret_result = connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd;
}

// Connects and closes until all is over. Returns NULL.
static void *thread_run(void *unused)
{
	while (!over) {
		int result, fd = dial(&result);

		failed += result < 0;
		close(fd);
	}
	return unused;
}

// What a child may do: close, connect, execute.
static void child_run(int number)
{
	int result;

	dial(&result);
	if (result < 0)
		_exit(1);
	if (number % 2)
		for (int each = 3; each < 200; each++)
			close(each);
	execl("/bin/true", "true", NULL);
	_exit(2);
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	int bad = 0, count;

	if (argc < 4)
		errx(2, "usage: forkstorm PORT THREADS CHILDREN");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	count = atoi(argv[2]);
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, thread_run, NULL) != 0)
			errx(1, "pthread_create");
	for (int i = 0; i < atoi(argv[3]); i++) {
		int status;
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid == 0)
			child_run(i);
		waitpid(pid, &status, 0);
		bad += status != 0;
	}
	over = true;
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	printf("%d children ended badly, %d connects failed\n", bad, failed);
	return 0;
}
