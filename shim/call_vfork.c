// SPDX-License-Identifier: MIT
// vfork(2): from here on a close may be a child's, who runs in our memory and has its own fds.
//
// vfork returns twice into its caller's frame, so nothing of ours may stand between: the symbol is
// a few instructions that call pf_lifetime_vfork and jump to what it returns.
#include "calls.h"
#include "lifetime.h"

#if defined __x86_64__
#define JUMP                                                                                       \
	"subq $8, %rsp\n"                                                                          \
	"call pf_lifetime_vfork\n"                                                                 \
	"addq $8, %rsp\n"                                                                          \
	"jmp *%rax\n"
#elif defined __i386__
#define JUMP                                                                                       \
	"subl $12, %esp\n"                                                                         \
	"call pf_lifetime_vfork\n"                                                                 \
	"addl $12, %esp\n"                                                                         \
	"jmp *%eax\n"
#elif defined __aarch64__
#define JUMP                                                                                       \
	"stp x29, x30, [sp, #-16]!\n"                                                              \
	"bl pf_lifetime_vfork\n"                                                                   \
	"mov x16, x0\n"                                                                            \
	"ldp x29, x30, [sp], #16\n"                                                                \
	"br x16\n"
#endif

#ifdef JUMP
__asm__(".text\n"
	".globl vfork\n"
	".type vfork, %function\n"
	"vfork:\n" JUMP ".size vfork, . - vfork\n");
#else
// Elsewhere it is a fork, as POSIX.1-2001 allowed: slower, and a child with a memory of its own.
pid_t call_vfork(void)
{
	return call_fork();
}
#endif
