// SPDX-License-Identifier: MIT
// What every layer needs: the clock, hashing, text in a buffer, numbers in text.
#include "util.h"

#include "atomics.h"

#include <string.h>
#include <time.h>

uint64_t pf_now_ms(void)
{
	struct timespec now = {0, 0};
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t pf_time_ns(uint64_t now)
{
	// Both clocks tick at once: within a tick, one look at this one is enough.
	static pf_word seen PF_TOGETHER, time PF_TOGETHER;
	struct timespec wall = {0, 0};
	if (pf_word_get_flag(&seen) == now)
		return pf_word_get(&time);
	clock_gettime(CLOCK_REALTIME_COARSE, &wall);
	uint64_t fresh = (uint64_t)wall.tv_sec * 1000000000 + (uint64_t)wall.tv_nsec;
	// In this order: who sees the moment sees its time, or a later one.
	pf_word_put(&time, fresh);
	atomic_store_explicit(&seen, now, memory_order_release);
	return fresh;
}

uint64_t pf_mix(uint64_t seed, uint64_t value)
{
	uint64_t x = (seed ^ value) * 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
	x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
	return x ^ x >> 32;
}

uint64_t pf_hash(const void *bytes, size_t size)
{
	const unsigned char *byte = bytes;
	uint64_t hash = pf_mix(0, size);
	for (size_t i = 0; i < size; i++)
		hash = pf_mix(hash, byte[i]);
	return hash;
}

struct pf_text pf_text_in(char *buffer, size_t size)
{
	buffer[0] = 0;
	return (struct pf_text){.buffer = buffer, .size = size, .length = 0};
}

void pf_text_add_bytes(struct pf_text *text, const char *bytes, size_t length)
{
	size_t room = text->size - 1 - text->length;
	if (length > room)
		length = room;
	memcpy(text->buffer + text->length, bytes, length);
	text->length += length;
	text->buffer[text->length] = 0;
}

void pf_text_add(struct pf_text *text, const char *string)
{
	pf_text_add_bytes(text, string, strlen(string));
}

void pf_text_add_number(struct pf_text *text, uint64_t number)
{
	char digits[20];
	size_t at = sizeof digits;
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	pf_text_add_bytes(text, digits + at, sizeof digits - at);
}

void pf_text_add_hex(struct pf_text *text, uint64_t number)
{
	char digits[16];
	for (size_t i = 0; i < sizeof digits; i++)
		digits[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
	pf_text_add_bytes(text, digits, sizeof digits);
}

void pf_text_add_quoted(struct pf_text *text, const char *bytes, size_t length)
{
	size_t shown = length > 40 ? 40 : length;
	pf_text_add(text, "\"");
	for (size_t i = 0; i < shown; i++) {
		char c = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
		pf_text_add_bytes(text, &c, 1);
	}
	pf_text_add(text, shown < length ? "...\"" : "\"");
}

// Returns the value of a digit, or 16 for what is none.
static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

uint64_t pf_number(const char *digits, size_t length, unsigned base, size_t *ret_length)
{
	uint64_t number = 0;
	size_t i = 0;
	for (; i < length && digit_value(digits[i]) < base; i++) {
		unsigned digit = digit_value(digits[i]);
		number = number > (UINT64_MAX - digit) / base ? UINT64_MAX : number * base + digit;
	}
	*ret_length = i;
	return number;
}
