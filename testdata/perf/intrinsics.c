// The merge with AVX-512 intrinsics: the algorithm of quant/gen, a delta of 4x64
// sums in registers, then two passes over blocks in the first-level cache. The
// assembly has since cut the second pass into codes and sums.
#include "merge.h"
#include <immintrin.h>

#define TILE 16 // blocks across

static inline __m512 lut(__m512 table, __m512i code) { return _mm512_permutexvar_ps(code, table); }

static void delta(float *d, const layer *l, int row, int col, int blocks) {
	for (int t = 0; t < blocks; t++) {
		const float *a = l->a + (size_t)(col + t * BLOCK) * l->rank;
		__m512 acc[4][4];
		for (int r = 0; r < 4; r++)
			for (int j = 0; j < 4; j++) acc[r][j] = _mm512_setzero_ps();
		for (int k = 0; k < l->rank; k++) {
			__m512 c[4];
			for (int j = 0; j < 4; j++) c[j] = _mm512_loadu_ps(a + k * BLOCK + 16 * j);
			for (int r = 0; r < 4; r++) {
				__m512 v = _mm512_set1_ps(l->b[(size_t)(row + r) * l->rank + k]);
				for (int j = 0; j < 4; j++) acc[r][j] = _mm512_fmadd_ps(c[j], v, acc[r][j]);
			}
		}
		__m512 scale = _mm512_set1_ps(l->scale);
		for (int r = 0; r < 4; r++)
			for (int j = 0; j < 4; j++)
				_mm512_storeu_ps(d + (r * TILE + t) * BLOCK + 16 * j, _mm512_mul_ps(scale, acc[r][j]));
	}
}

// fold adds 16 lanes: +8, +4, +2, +1.
static inline float fold(__m512 v) {
	__m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	__m128 c = _mm_add_ps(b, _mm_permute_ps(b, 0x4e));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_permute_ps(c, 0xb1)));
}

static inline __m512 table(const uint32_t *bits, float scale) {
	return _mm512_mul_ps(_mm512_loadu_ps((const float *)bits), _mm512_set1_ps(scale));
}

// grid has 32 cells, cell(x) = low bits of 15x + 2^23+16, with one bound each at most.
typedef struct {
	__m512 bound[2];
	__m512i rank[2];
} grid;

static uint32_t cell(float x) {
	union { float f; uint32_t u; } v = {__builtin_fmaf(x, 15, (1 << 23) + 16)};
	return v.u & 31;
}

static grid new_grid(void) {
	float bound[32];
	int32_t rank[32] = {0};
	for (int i = 0; i < 32; i++) bound[i] = __builtin_inff();
	for (int i = 0; i < 15; i++) {
		union { uint32_t u; float f; } b = {nf4_bounds[i]};
		bound[cell(b.f)] = b.f;
		for (uint32_t c = cell(b.f) + 1; c < 32; c++) rank[c]++;
	}
	grid g;
	for (int i = 0; i < 2; i++) {
		g.bound[i] = _mm512_loadu_ps(bound + 16 * i);
		g.rank[i] = _mm512_loadu_si512(rank + 16 * i);
	}
	return g;
}

static void target(const layer *l, size_t at, int blocks, const float *d, float *w, float *t) {
	const __m512i spread = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
	const __m512i shift = _mm512_set1_epi64(4);
	for (int b = 0; b < blocks; b++, at++) {
		__m512i u = _mm512_castps_si512(table(nf4_bits, l->absmax[at]));
		__m512i lsb = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
		u = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), lsb);
		__m512 values = _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32(0xffff0000)));
		__m512 ww = _mm512_setzero_ps(), dd = ww, tt = ww, largest = ww;
		for (int i = 0; i < BLOCK; i += 16) {
			int64_t raw;
			__builtin_memcpy(&raw, l->codes + at * BLOCK / 2 + i / 2, 8);
			__m512i c = _mm512_srlv_epi32(_mm512_shuffle_epi8(_mm512_set1_epi64(raw), spread), shift);
			__m512 x = lut(values, c), y = _mm512_loadu_ps(d + b * BLOCK + i), z = _mm512_add_ps(x, y);
			_mm512_storeu_ps(w + b * BLOCK + i, x);
			_mm512_storeu_ps(t + b * BLOCK + i, z);
			ww = _mm512_add_ps(ww, _mm512_mul_ps(x, x));
			dd = _mm512_add_ps(dd, _mm512_mul_ps(y, y));
			tt = _mm512_add_ps(tt, _mm512_mul_ps(z, z));
			largest = _mm512_range_ps(largest, z, 0x0b);
		}
		sums *s = l->stats + at;
		s->ww = fold(ww), s->dd = fold(dd), s->tt = fold(tt);
		s->n = BLOCK, s->delta = s->sum = s->output = s->ambiguous = 0;
		s->old_absmax = l->absmax[at];
		s->new_absmax = l->new_absmax[at] = _mm512_reduce_max_ps(largest);
	}
}

static void code(const layer *l, const grid *g, size_t at, int blocks, const float *d, const float *w, const float *t) {
	const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
	for (int b = 0; b < blocks; b++, at++) {
		float absmax = l->new_absmax[at];
		__m512 inverse = _mm512_set1_ps(1 / (absmax < 1e-38f ? 1e-38f : absmax)), values = table(nf4_bits, absmax);
		__m512 rd = _mm512_setzero_ps(), ee = rd, largest = rd;
		__m512i ranks[4];
		for (int i = 0; i < 4; i++) {
			int j = b * BLOCK + 16 * i;
			__m512 x = _mm512_mul_ps(_mm512_loadu_ps(t + j), inverse);
			__m512i c = _mm512_castps_si512(_mm512_fmadd_ps(x, _mm512_set1_ps(15), _mm512_set1_ps((1 << 23) + 16)));
			__m512 bound = _mm512_permutex2var_ps(g->bound[0], c, g->bound[1]);
			__m512i rank = _mm512_permutex2var_epi32(g->rank[0], c, g->rank[1]);
			rank = _mm512_mask_add_epi32(rank, _mm512_cmp_ps_mask(x, bound, _CMP_GT_OQ), rank, _mm512_set1_epi32(1));
			ranks[i] = rank;
			__m512 r = _mm512_sub_ps(lut(values, rank), _mm512_loadu_ps(w + j)), y = _mm512_loadu_ps(d + j);
			rd = _mm512_add_ps(rd, _mm512_mul_ps(r, y));
			r = _mm512_sub_ps(r, y);
			ee = _mm512_add_ps(ee, _mm512_mul_ps(r, r));
			largest = _mm512_range_ps(largest, r, 0x0b);
		}
		__m512i q = _mm512_packus_epi16(_mm512_packus_epi32(ranks[0], ranks[1]), _mm512_packus_epi32(ranks[2], ranks[3]));
		q = _mm512_maddubs_epi16(_mm512_permutexvar_epi32(order, q), _mm512_set1_epi32(0x01100110));
		__m256i packed = _mm512_cvtepi16_epi8(q);
		__m256i old = _mm256_loadu_si256((const __m256i *)(l->codes + at * BLOCK / 2));
		_mm256_storeu_si256((__m256i *)(l->new_codes + at * BLOCK / 2), packed);
		__m256i differ = _mm256_xor_si256(packed, old);
		sums *s = l->stats + at;
		s->codes = __builtin_popcount(_mm256_test_epi8_mask(differ, _mm256_set1_epi8(15))) +
			__builtin_popcount(_mm256_test_epi8_mask(differ, _mm256_set1_epi8(-16)));
		s->rd = fold(rd), s->ee = fold(ee);
		s->max_e = _mm512_reduce_max_ps(largest);
	}
}

// Panels of rows keep a tile of A in a cache.
void merge_intrinsics(const layer *l) {
	float d[4 * TILE * BLOCK], w[TILE * BLOCK], t[TILE * BLOCK];
	grid g = new_grid();
	int panel = (96 << 10) / l->cols / 4 * 4;
	for (int top = 0; top < l->rows; top += panel)
		for (int col = 0; col < l->cols; col += TILE * BLOCK) {
			int blocks = (l->cols - col) / BLOCK < TILE ? (l->cols - col) / BLOCK : TILE;
			for (int row = top; row < l->rows && row < top + panel; row += 4) {
				delta(d, l, row, col, blocks);
				for (int r = 0; r < 4; r++) {
					size_t at = ((size_t)(row + r) * l->cols + col) / BLOCK;
					target(l, at, blocks, d + r * TILE * BLOCK, w, t);
					code(l, &g, at, blocks, d + r * TILE * BLOCK, w, t);
				}
			}
		}
}
