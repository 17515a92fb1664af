package model

import (
	"math"
	"math/rand/v2"
	"testing"
)

// direct works a token out from whole distributions in float64.
func direct(ref, this []float32, target int) (t Token) {
	lse := func(x []float32) float64 {
		m := math.Inf(-1)
		for _, v := range x {
			m = max(m, float64(v))
		}
		s := 0.0
		for _, v := range x {
			s += math.Exp(float64(v) - m)
		}
		return m + math.Log(s)
	}
	best := func(x []float32) (at int) {
		for i, v := range x {
			if v > x[at] {
				at = i
			}
		}
		return at
	}
	zr, zt := lse(ref), lse(this)
	t.NLL, t.RefNLL, t.Same = zt-float64(this[target]), zr-float64(ref[target]), best(ref) == best(this)
	for i, r := range ref {
		lr := float64(r) - zr
		if p := math.Exp(lr); p > 0 {
			t.KL += p * (lr - float64(this[i]) + zt)
		}
	}
	return t
}

func close64(a, b, by float64) bool { return a == b || math.Abs(a-b) <= by*max(1, math.Abs(b)) }

// Pieces of any size give what the whole distribution gives.
func TestScoresStream(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const vocab = 1500
	for round := range 60 {
		logits := make([][]float32, 3)
		for v := range logits {
			logits[v] = make([]float32, vocab)
			for i := range logits[v] {
				logits[v][i] = float32(rng.NormFloat64() * 4)
				if v > 0 {
					logits[v][i] = logits[0][i] + float32(rng.NormFloat64()*math.Exp2(float64(-round)))
				}
			}
		}
		if round%3 == 0 { // masked entries
			logits[1][5], logits[0][5], logits[0][700] = float32(math.Inf(-1)), float32(math.Inf(-1)), float32(math.Inf(-1))
		}
		const reference = 1
		target := rng.IntN(vocab)
		for _, v := range logits {
			v[target] = 1
		}
		if round%3 == 0 { // where the reference has no mass, others may
			logits[reference][700] = float32(math.Inf(-1))
		}
		s := NewScores([]int32{int32(target)}, 3, reference)
		for lo := 0; lo < vocab; {
			hi := min(lo+1+rng.IntN(700), vocab)
			s.Logits(0, lo, [][]float32{logits[0][lo:hi], logits[1][lo:hi], logits[2][lo:hi]})
			lo = hi
		}
		for v := range logits {
			got, want := s.Token(v, 0), direct(logits[reference], logits[v], target)
			if !close64(got.NLL, want.NLL, 1e-6) || !close64(got.RefNLL, want.RefNLL, 1e-6) || !close64(got.KL, want.KL, 3e-7) || got.Same != want.Same {
				t.Fatalf("round %d, variant %d: %+v, want %+v", round, v, got, want)
			}
			if v == reference && got.KL != 0 {
				t.Errorf("KL of the reference with itself is %v", got.KL)
			}
		}
	}
}

func TestScoresNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, bad := range []float32{nan, inf} {
		for at := range 4 {
			this := []float32{1, 2, 3, 4}
			this[at] = bad
			s := NewScores([]int32{0}, 2, 0)
			s.Logits(0, 0, [][]float32{{1, 2, 3, 4}, this})
			if k := s.Token(1, 0); k.KL == k.KL && !math.IsInf(k.KL, 0) {
				t.Errorf("%v at %d: %+v", bad, at, k)
			}
			f := Summarize(s.Tokens(1))
			if f.NonFinite != 1 || f.KL.Value == f.KL.Value && !math.IsInf(f.KL.Value, 0) || f.Top1.Value == f.Top1.Value {
				t.Errorf("%v at %d: %+v", bad, at, f)
			}
		}
	}
}

// Four tokens by hand.
func TestSummarize(t *testing.T) {
	ln := math.Log
	tokens := []Token{
		{NLL: ln(2), RefNLL: ln(2), KL: 0.1, Same: true},
		{NLL: ln(4), RefNLL: ln(2), KL: 0.2, Same: true},
		{NLL: ln(8), RefNLL: ln(4), KL: 0.3, Same: false},
		{NLL: ln(2), RefNLL: ln(4), KL: 0.4, Same: true},
	}
	f := Summarize(tokens)
	l := ln(2)
	check := func(what string, got, want float64) {
		t.Helper()
		if !close64(got, want, 1e-12) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	// In units of ln 2: NLL 1 2 3 1, reference 1 1 2 2.
	check("nll", f.NLL.Value, 1.75*l)
	check("nll error", f.NLL.Err, l*math.Sqrt((15.0/4-1.75*1.75)/3))
	check("reference", f.RefNLL.Value, 1.5*l)
	check("reference error", f.RefNLL.Err, l*math.Sqrt(0.25/3))
	cov := (11.0/4 - 1.75*1.5) * l * l / 3
	check("ratio", f.LogRatio.Value, 0.25*l)
	ratioErr := math.Sqrt(f.NLL.Err*f.NLL.Err + f.RefNLL.Err*f.RefNLL.Err - 2*cov)
	check("ratio error", f.LogRatio.Err, ratioErr)
	check("ppl", f.PPL.Value, math.Exp2(1.75))
	check("ppl error", f.PPL.Err, math.Exp2(1.75)*f.NLL.Err)
	check("ppl ratio", f.PPLRatio.Value, math.Exp2(0.25))
	check("ppl ratio error", f.PPLRatio.Err, math.Exp2(0.25)*ratioErr)
	check("ppl difference", f.PPLDiff.Value, math.Exp2(1.75)-math.Exp2(1.5))
	check("correlation", f.Correlation, cov/(f.NLL.Err*f.RefNLL.Err))
	check("kl", f.KL.Value, 0.25)
	check("kl error", f.KL.Err, math.Sqrt(0.0125/3))
	check("top1", f.Top1.Value, 0.75)
	check("top1 error", f.Top1.Err, math.Sqrt(0.75*0.25/3))
	// Probabilities changed by 0, -1/4, -1/8, +1/4.
	check("delta p", f.DeltaP.Value, -1.0/32)
	check("delta p rms", f.DeltaPRMS.Value, math.Sqrt((1.0/16+1.0/64+1.0/16)/4))
	for _, q := range f.KLShares {
		check("kl quantile", q.Value, 0.1+0.3*q.Share)
	}
	if none := Summarize(nil); none.KL.Value == none.KL.Value || none.Top1.Value == none.Top1.Value {
		t.Errorf("no tokens: %+v", none)
	}
	if one := Summarize(tokens[:1]); one.KL.Value != 0.1 || one.KL.Err == one.KL.Err {
		t.Errorf("one token: %+v", one.KL)
	}
}

func TestBuckets(t *testing.T) {
	for p, want := range map[int]string{1: "1-16", 16: "1-16", 17: "17-32", 33: "33-64", 128: "65-128", 129: "129-256", 512: "257-512", 513: "513-1024"} {
		if got := BucketOf(p).String(); got != want {
			t.Errorf("position %d is in %s, want %s", p, got, want)
		}
	}
	var tokens []Token
	var positions []int
	for p := 1; p <= 40; p++ {
		tokens, positions = append(tokens, Token{KL: float64(p)}), append(positions, p)
	}
	list := ByPosition(tokens, positions)
	if len(list) != 3 || list[0].KL.Value != 8.5 || list[1].KL.Value != 24.5 || list[2].Tokens != 8 || list[2].KL.Value != 36.5 {
		t.Errorf("%+v", list)
	}
}

func TestDepth(t *testing.T) {
	d := NewDepth(2, 2, 2, 0)
	d.Hidden(1, 0, [][]float32{{3, 4}, {3, 4}})
	d.Hidden(1, 1, [][]float32{{0, 5}, {1, 5}})
	if got, want := d.RelativeRMS(1, 1), math.Sqrt(1.0/50); got != want {
		t.Errorf("relative rms %v, want %v", got, want)
	}
	if got := d.RelativeRMS(1, 0); got != 0 {
		t.Errorf("reference %v", got)
	}
	if got := d.RelativeRMS(0, 1); got == got {
		t.Errorf("nothing added: %v", got)
	}
}
