// What both C versions of the merge share: one layer and its results.
#include <stdint.h>

#define BLOCK 64 // weights that share an absmax

// sums has the layout of quant.BlockSum.
typedef struct {
	float ww, dd, tt, rd, ee, max_e;
	uint32_t n, codes, delta, sum, output, ambiguous;
	float old_absmax, new_absmax;
} sums;

// layer is an NF4 weight [rows, cols] with a bfloat16 state, and an adapter.
typedef struct {
	int rows, cols, rank;
	const uint8_t *codes;
	const float *absmax;
	const float *a; // [cols/64][rank][64]
	const float *b; // [rows][rank]
	float scale;
	uint8_t *new_codes;
	float *new_absmax;
	sums *stats;
} layer;

extern const uint32_t nf4_bits[16], nf4_bounds[15];

void merge_plain(const layer *l);
void merge_intrinsics(const layer *l);
