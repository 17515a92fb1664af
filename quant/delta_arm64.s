//go:build gc && !noasm

#include "textflag.h"

// Go's assembler has FMLA for vectors, but neither FMUL, FADD nor FCMEQ: of four
// float32 lanes, d = n op m. FCMEQ sets lanes that are not NaN to ones if n = m.
#define FMUL(d, n, m) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d))
#define FADD(d, n, m) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d))
#define FCMEQ(d, n, m) WORD $(0x4e20e400 | (m)<<16 | (n)<<5 | (d))

// NUMBERS clears the lanes of V31 where v, a register by number, is NaN.
#define NUMBERS(v) FCMEQ(20, v, v); VAND V20.B16, V31.B16, V31.B16

// ADD4, SCALE4 do so to four registers from v on with 16 values at p, and with V30.
#define ADD4(p, v) \
	VLD1 (p), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	FADD(v, v, 16); FADD(v+1, v+1, 17); FADD(v+2, v+2, 18); FADD(v+3, v+3, 19)
#define SCALE4(v) \
	FMUL(v, v, 30); FMUL(v+1, v+1, 30); FMUL(v+2, v+2, 30); FMUL(v+3, v+3, 30); \
	NUMBERS(v); NUMBERS(v+1); NUMBERS(v+2); NUMBERS(v+3)

// CLEAR zeroes V0 to V15.
#define CLEAR() \
	VEOR V0.B16, V0.B16, V0.B16; VEOR V1.B16, V1.B16, V1.B16; \
	VEOR V2.B16, V2.B16, V2.B16; VEOR V3.B16, V3.B16, V3.B16; \
	VEOR V4.B16, V4.B16, V4.B16; VEOR V5.B16, V5.B16, V5.B16; \
	VEOR V6.B16, V6.B16, V6.B16; VEOR V7.B16, V7.B16, V7.B16; \
	VEOR V8.B16, V8.B16, V8.B16; VEOR V9.B16, V9.B16, V9.B16; \
	VEOR V10.B16, V10.B16, V10.B16; VEOR V11.B16, V11.B16, V11.B16; \
	VEOR V12.B16, V12.B16, V12.B16; VEOR V13.B16, V13.B16, V13.B16; \
	VEOR V14.B16, V14.B16, V14.B16; VEOR V15.B16, V15.B16, V15.B16

// LOAD reads the arguments: R0 dst, R1 stride, R2 b, R3 rank, R4 a and R5 next in
// bytes, R6 k, R7 blocks, R9 add, V30 scale; V31 is all ones.
#define LOAD() \
	MOVD  dst+0(FP), R0; \
	MOVD  stride+8(FP), R1; \
	MOVD  b+16(FP), R2; \
	MOVD  rank+24(FP), R3; \
	MOVD  a+32(FP), R4; \
	MOVD  next+40(FP), R5; \
	MOVD  k+48(FP), R6; \
	MOVD  blocks+56(FP), R7; \
	MOVWU scale+64(FP), R8; \
	MOVD  add+72(FP), R9; \
	LSL   $2, R1; \
	LSL   $2, R3; \
	LSL   $2, R5; \
	VDUP  R8, V30.S4; \
	VCMEQ V31.S4, V31.S4, V31.S4

// STORE returns whether there was NaN.
#define STORE() \
	VMOV V31.D[0], R8; \
	VMOV V31.D[1], R9; \
	AND  R9, R8; \
	MVN  R8, R8; \
	MOVD R8, nan+80(FP)

// func delta4NEON(dst *float32, stride int, b *float32, rank int, a *float32, next int, k int, blocks int, scale float32, add int) (nan int)
//
// V0 to V15 are sums of four rows and 16 columns, of which there are four groups.
TEXT ·delta4NEON(SB), NOSPLIT, $0-88
	LOAD()

block:
	MOVD $4, R10
	MOVD R4, R11
	MOVD R0, R12

group:
	CLEAR()
	MOVD R11, R13
	MOVD R2, R14
	ADD  R3, R14, R15
	ADD  R3, R15, R16
	ADD  R3, R16, R17
	MOVD R6, R19

chain:
	VLD1    (R13), [V16.S4, V17.S4, V18.S4, V19.S4]
	ADD     $256, R13
	VLD1R.P 4(R14), [V20.S4]
	VLD1R.P 4(R15), [V21.S4]
	VLD1R.P 4(R16), [V22.S4]
	VLD1R.P 4(R17), [V23.S4]
	VFMLA   V16.S4, V20.S4, V0.S4
	VFMLA   V17.S4, V20.S4, V1.S4
	VFMLA   V18.S4, V20.S4, V2.S4
	VFMLA   V19.S4, V20.S4, V3.S4
	VFMLA   V16.S4, V21.S4, V4.S4
	VFMLA   V17.S4, V21.S4, V5.S4
	VFMLA   V18.S4, V21.S4, V6.S4
	VFMLA   V19.S4, V21.S4, V7.S4
	VFMLA   V16.S4, V22.S4, V8.S4
	VFMLA   V17.S4, V22.S4, V9.S4
	VFMLA   V18.S4, V22.S4, V10.S4
	VFMLA   V19.S4, V22.S4, V11.S4
	VFMLA   V16.S4, V23.S4, V12.S4
	VFMLA   V17.S4, V23.S4, V13.S4
	VFMLA   V18.S4, V23.S4, V14.S4
	VFMLA   V19.S4, V23.S4, V15.S4
	SUBS    $1, R19
	BNE     chain

	ADD R1, R12, R20
	ADD R1, R20, R21
	ADD R1, R21, R22
	CBZ R9, scale
	ADD4(R12, 0)
	ADD4(R20, 4)
	ADD4(R21, 8)
	ADD4(R22, 12)

scale:
	SCALE4(0)
	SCALE4(4)
	SCALE4(8)
	SCALE4(12)
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R12)
	VST1 [V4.S4, V5.S4, V6.S4, V7.S4], (R20)
	VST1 [V8.S4, V9.S4, V10.S4, V11.S4], (R21)
	VST1 [V12.S4, V13.S4, V14.S4, V15.S4], (R22)
	ADD  $64, R11
	ADD  $64, R12
	SUBS $1, R10
	BNE  group

	ADD  R5, R4
	ADD  $256, R0
	SUBS $1, R7
	BNE  block
	STORE()
	RET

// func delta1NEON(dst *float32, stride int, b *float32, rank int, a *float32, next int, k int, blocks int, scale float32, add int) (nan int)
//
// V0 to V15 are sums of 64 columns.
TEXT ·delta1NEON(SB), NOSPLIT, $0-88
	LOAD()

block:
	CLEAR()
	MOVD R4, R13
	MOVD R2, R14
	MOVD R6, R19

chain:
	VLD1R.P 4(R14), [V20.S4]
	VLD1.P  64(R13), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA   V16.S4, V20.S4, V0.S4
	VFMLA   V17.S4, V20.S4, V1.S4
	VFMLA   V18.S4, V20.S4, V2.S4
	VFMLA   V19.S4, V20.S4, V3.S4
	VLD1.P  64(R13), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA   V16.S4, V20.S4, V4.S4
	VFMLA   V17.S4, V20.S4, V5.S4
	VFMLA   V18.S4, V20.S4, V6.S4
	VFMLA   V19.S4, V20.S4, V7.S4
	VLD1.P  64(R13), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA   V16.S4, V20.S4, V8.S4
	VFMLA   V17.S4, V20.S4, V9.S4
	VFMLA   V18.S4, V20.S4, V10.S4
	VFMLA   V19.S4, V20.S4, V11.S4
	VLD1.P  64(R13), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA   V16.S4, V20.S4, V12.S4
	VFMLA   V17.S4, V20.S4, V13.S4
	VFMLA   V18.S4, V20.S4, V14.S4
	VFMLA   V19.S4, V20.S4, V15.S4
	SUBS    $1, R19
	BNE     chain

	ADD $64, R0, R20
	ADD $128, R0, R21
	ADD $192, R0, R22
	CBZ R9, scale
	ADD4(R0, 0)
	ADD4(R20, 4)
	ADD4(R21, 8)
	ADD4(R22, 12)

scale:
	SCALE4(0)
	SCALE4(4)
	SCALE4(8)
	SCALE4(12)
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	VST1 [V4.S4, V5.S4, V6.S4, V7.S4], (R20)
	VST1 [V8.S4, V9.S4, V10.S4, V11.S4], (R21)
	VST1 [V12.S4, V13.S4, V14.S4, V15.S4], (R22)
	ADD  R5, R4
	ADD  $256, R0
	SUBS $1, R7
	BNE  block
	STORE()
	RET
