// Times the C versions of the merge on the layers of quant's BenchmarkLayer and
// prints a hash of the results, which all versions share. Time is that of the
// thread, so that other processes do not count; the least of some rounds.
#define _GNU_SOURCE
#include "merge.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const uint32_t nf4_bits[16] = {
	0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871, 0x00000000,
	0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000,
};
const uint32_t nf4_bounds[15] = {
	0xbf591cd8, 0xbf1c5270, 0xbeeb8480, 0xbeadea76, 0xbe703cec, 0xbe0d38bc, 0xbd3a7871, 0x3d22faff,
	0x3df64862, 0x3e5067e0, 0x3e9582d4, 0x3ec753f9, 0x3f006d04, 0x3f248daf, 0x3f5c89da,
};

static uint64_t state;

// next returns a multiple of 2^-23 in [-1, 1).
static float next(void) {
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (float)((int32_t)(state >> 40) - (1 << 23)) / (1 << 23);
}

static layer new_layer(int rows, int cols, int rank) {
	size_t n = (size_t)rows * cols;
	uint8_t *codes = malloc(n / 2);
	float *absmax = malloc(n / BLOCK * 4), *a = malloc((size_t)rank * cols * 4), *b = malloc((size_t)rows * rank * 4);
	state = 1;
	for (size_t i = 0; i < n / 2; i++) next(), codes[i] = state >> 56;
	for (size_t i = 0; i < n / BLOCK; i++) absmax[i] = (1 + fabsf(next())) * 0.01f;
	for (int k = 0; k < rank; k++)
		for (int i = 0; i < cols; i++) a[((size_t)(i / 64) * rank + k) * 64 + i % 64] = next();
	for (size_t i = 0; i < (size_t)rows * rank; i++) b[i] = next() * 0.05f;
	return (layer){rows, cols, rank, codes, absmax, a, b, 0.01f, calloc(n / 2, 1), calloc(n / BLOCK, 4), calloc(n / BLOCK, sizeof(sums))};
}

static uint64_t fnv(uint64_t h, const void *p, size_t n) {
	for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)p)[i]) * 1099511628211u;
	return h;
}

static uint64_t hash(const layer *l) {
	size_t n = (size_t)l->rows * l->cols;
	uint64_t h = fnv(14695981039346656037u, l->new_codes, n / 2);
	return fnv(h, l->stats, n / BLOCK * sizeof(sums));
}

static double seconds(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

// peak returns how many fused multiply-adds of 16 lanes the processor does in a
// second, in billions of floating-point operations: twelve chains of zmm.
static double peak(void) {
	const long n = 2000000;
	double best = INFINITY;
	for (int i = 0; i < 9; i++) {
		double t = seconds();
		__asm__ volatile(
			"mov %0, %%rcx\n"
			"1:\n"
			"vfmadd231ps %%zmm0, %%zmm0, %%zmm1\nvfmadd231ps %%zmm0, %%zmm0, %%zmm2\n"
			"vfmadd231ps %%zmm0, %%zmm0, %%zmm3\nvfmadd231ps %%zmm0, %%zmm0, %%zmm4\n"
			"vfmadd231ps %%zmm0, %%zmm0, %%zmm5\nvfmadd231ps %%zmm0, %%zmm0, %%zmm6\n"
			"vfmadd231ps %%zmm0, %%zmm0, %%zmm7\nvfmadd231ps %%zmm0, %%zmm0, %%zmm8\n"
			"vfmadd231ps %%zmm0, %%zmm0, %%zmm9\nvfmadd231ps %%zmm0, %%zmm0, %%zmm10\n"
			"vfmadd231ps %%zmm0, %%zmm0, %%zmm11\nvfmadd231ps %%zmm0, %%zmm0, %%zmm12\n"
			"dec %%rcx\njnz 1b\n"
			: : "r"(n) : "rcx", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			  "xmm9", "xmm10", "xmm11", "xmm12");
		best = fmin(best, seconds() - t);
	}
	return 12.0 * 32 * n / best / 1e9;
}

int main(int argc, char **argv) {
	int rounds = argc > 1 ? atoi(argv[1]) : 9;
	printf("peak of fused multiply-adds %.0f Gflop/cpu-s\n", peak());
	const int shapes[][3] = {{512, 512, 8}, {4096, 4096, 16}, {4096, 11008, 64}};
	const struct { const char *name; void (*merge)(const layer *); } versions[] = {
		{"plain", merge_plain}, {"intrinsics", merge_intrinsics},
	};
	for (int s = 0; s < 3; s++) {
		layer l = new_layer(shapes[s][0], shapes[s][1], shapes[s][2]);
		for (int v = 0; v < 2; v++) {
			double best = INFINITY;
			memset(l.new_codes, 0, (size_t)l.rows * l.cols / 2);
			for (int i = 0; i < (s == 0 ? 50 : 1) * rounds; i++) {
				double t = seconds();
				versions[v].merge(&l);
				best = fmin(best, seconds() - t);
			}
			printf("%dx%dr%-3d %-10s %8.1f Mw/cpu-s  hash %016llx\n", l.rows, l.cols, l.rank, versions[v].name,
				(double)l.rows * l.cols / best / 1e6, (unsigned long long)hash(&l));
		}
	}
}
