// SPDX-License-Identifier: MIT
// The address sanitizer's options for a preloaded library; a test may run a program without any
// environment. Linked into the library if SAN=address.
#include <sanitizer/asan_interface.h>

// Returns options: the library stands before the runtime, whose order with libc is what matters;
// and programs end with what they never freed (the probes by way of getaddrinfo).
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0:detect_leaks=0:detect_stack_use_after_return=1";
}
