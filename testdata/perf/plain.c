// The merge as plain C, one block of 64 weights at a time. Every loop runs over
// arrays of fixed length, so that the compiler vectorises it.
#include "merge.h"
#include <string.h>

static float as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static uint32_t as_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

static float bf16(float v) {
	uint32_t u = as_bits(v);
	return as_float((u + 0x7fff + (u >> 16 & 1)) & 0xffff0000);
}

// fold adds 16 lanes: +8, +4, +2, +1.
static float fold(const float *l) {
	float s[8];
	for (int i = 0; i < 8; i++) s[i] = l[i] + l[i + 8];
	for (int i = 0; i < 4; i++) s[i] += s[i + 4];
	return (s[0] + s[2]) + (s[1] + s[3]);
}

static void block(const layer *l, int row, int col) {
	float d[BLOCK] = {0}, w[BLOCK], t[BLOCK], out[BLOCK];
	const float *a = l->a + (size_t)col * l->rank, *b = l->b + (size_t)row * l->rank;
	for (int k = 0; k < l->rank; k++)
		for (int i = 0; i < BLOCK; i++) d[i] = __builtin_fmaf(b[k], a[k * BLOCK + i], d[i]);

	size_t at = ((size_t)row * l->cols + col) / BLOCK;
	const uint8_t *codes = l->codes + at * BLOCK / 2;
	float values[16], bounds[15];
	for (int i = 0; i < 16; i++) values[i] = as_float(nf4_bits[i]);
	for (int i = 0; i < 15; i++) bounds[i] = as_float(nf4_bounds[i]);
	uint8_t old[BLOCK], now[BLOCK];
	for (int i = 0; i < BLOCK / 2; i++) {
		old[2 * i] = codes[i] >> 4;
		old[2 * i + 1] = codes[i] & 15;
	}
	uint32_t largest = 0;
	for (int i = 0; i < BLOCK; i++) {
		d[i] = l->scale * d[i];
		w[i] = bf16(values[old[i]] * l->absmax[at]);
		t[i] = w[i] + d[i];
		uint32_t m = as_bits(t[i]) & 0x7fffffff;
		largest = m > largest ? m : largest;
	}
	float absmax = as_float(largest), inverse = 1 / (absmax < 1e-38f ? 1e-38f : absmax);
	for (int i = 0; i < BLOCK; i++) {
		float x = t[i] * inverse;
		int32_t c = 0;
		for (int j = 0; j < 15; j++) c += x > bounds[j];
		now[i] = c;
		out[i] = values[c] * absmax;
	}
	uint32_t changed = 0;
	for (int i = 0; i < BLOCK / 2; i++) l->new_codes[at * BLOCK / 2 + i] = now[2 * i] << 4 | now[2 * i + 1];
	for (int i = 0; i < BLOCK; i++) changed += old[i] != now[i];

	float ww[16] = {0}, dd[16] = {0}, tt[16] = {0}, rd[16] = {0}, ee[16] = {0};
	uint32_t max_e = 0;
	for (int j = 0; j < BLOCK; j += 16)
		for (int i = 0; i < 16; i++) {
			float r = out[j + i] - w[j + i], e = r - d[j + i];
			ww[i] += w[j + i] * w[j + i];
			dd[i] += d[j + i] * d[j + i];
			tt[i] += t[j + i] * t[j + i];
			rd[i] += r * d[j + i];
			ee[i] += e * e;
			uint32_t m = as_bits(e) & 0x7fffffff;
			max_e = m > max_e ? m : max_e;
		}
	l->new_absmax[at] = absmax;
	l->stats[at] = (sums){
		.ww = fold(ww), .dd = fold(dd), .tt = fold(tt), .rd = fold(rd), .ee = fold(ee),
		.max_e = as_float(max_e), .n = BLOCK, .codes = changed,
		.old_absmax = l->absmax[at], .new_absmax = absmax,
	};
}

// Four rows share a tile of A.
void merge_plain(const layer *l) {
	for (int row = 0; row < l->rows; row += 4)
		for (int col = 0; col < l->cols; col += BLOCK)
			for (int r = row; r < row + 4; r++) block(l, r, col);
}
