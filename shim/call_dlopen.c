// SPDX-License-Identifier: MIT
// dlopen(3): RTLD_DEEPBIND would make a library find libc's calls before ours (PHP's extensions).
//
// dlopen looks at its caller: that one's RUNPATH and namespace count. So the symbol is a few
// instructions that clear the flag and jump to the next dlopen, who sees the program.
#include "calls.h"
#include "environment.h"
#include "fence.h"
#include "real.h"

#include <dlfcn.h>

#ifndef RTLD_DEEPBIND
#define RTLD_DEEPBIND 0 // musl
#endif

// Returns the flags to pass on.
__attribute__((used)) static int call_dlopen_flags(int flags)
{
	if (!(flags & RTLD_DEEPBIND) || pf_fence() == PF_FENCE_OFF ||
		pf_environment_is_on(PF_SETTING_DEEPBIND))
		return flags;
	return flags & ~RTLD_DEEPBIND;
}

#if defined __x86_64__
#define DLOPEN                                                                                     \
	"pushq %rdi\n"                                                                             \
	"pushq %rsi\n"                                                                             \
	"subq $8, %rsp\n"                                                                          \
	"movl %esi, %edi\n"                                                                        \
	"call call_dlopen_flags\n"                                                                 \
	"movl %eax, 8(%rsp)\n"                                                                     \
	"call pf_real_dlopen\n"                                                                    \
	"addq $8, %rsp\n"                                                                          \
	"popq %rsi\n"                                                                              \
	"popq %rdi\n"                                                                              \
	"jmp *%rax\n"
#elif defined __i386__
#define DLOPEN                                                                                     \
	"subl $8, %esp\n"                                                                          \
	"pushl 16(%esp)\n"                                                                         \
	"call call_dlopen_flags\n"                                                                 \
	"movl %eax, 20(%esp)\n"                                                                    \
	"call pf_real_dlopen\n"                                                                    \
	"addl $12, %esp\n"                                                                         \
	"jmp *%eax\n"
#elif defined __aarch64__
#define DLOPEN                                                                                     \
	"stp x29, x30, [sp, #-32]!\n"                                                              \
	"str x0, [sp, #16]\n"                                                                      \
	"mov w0, w1\n"                                                                             \
	"bl call_dlopen_flags\n"                                                                   \
	"str w0, [sp, #24]\n"                                                                      \
	"bl pf_real_dlopen\n"                                                                      \
	"mov x16, x0\n"                                                                            \
	"ldr x0, [sp, #16]\n"                                                                      \
	"ldr w1, [sp, #24]\n"                                                                      \
	"ldp x29, x30, [sp], #32\n"                                                                \
	"br x16\n"
#endif

#ifdef DLOPEN
__asm__(".text\n"
	".globl dlopen\n"
	".type dlopen, %function\n"
	"dlopen:\n" DLOPEN ".size dlopen, . - dlopen\n");
#else
// Elsewhere the compiler's sibling call does the same.
void *call_dlopen(const char *file, int flags)
{
	void *(*next)(const char *, int) =
		(__extension__(void *(*)(const char *, int)) pf_real_dlopen());
	return next(file, call_dlopen_flags(flags));
}
#endif
