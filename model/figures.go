package model

import (
	"fmt"
	"math"
	"slices"
)

// Estimate is a figure and its standard error, NaN if it has none.
type Estimate struct{ Value, Err float64 }

// Quantile is the value below which a share of the tokens lies.
type Quantile struct{ Share, Value float64 }

// Figures compares a variant with the reference over some tokens, as
// llama.cpp's perplexity --kl-divergence defines it (tools/perplexity). Standard
// errors take tokens to be independent. A figure over tokens of which one is not
// finite is NaN.
type Figures struct {
	Tokens    int
	NonFinite int // tokens with NaN or infinite scores

	NLL, RefNLL Estimate // mean, nats per token
	LogRatio    Estimate // NLL - RefNLL = ln(PPL/RefPPL), errors with their covariance
	PPL, RefPPL Estimate
	PPLRatio    Estimate
	PPLDiff     Estimate
	Correlation float64 // of both NLL

	KL          Estimate // KL(reference || variant), mean
	KLShares    []Quantile
	Top1        Estimate // share of tokens both find most likely, binomial error
	DeltaP      Estimate // mean change of the correct token's probability
	DeltaPRMS   Estimate
	DeltaPParts []Quantile
}

// shares are the quantiles llama.cpp prints; 0 and 1 are minimum and maximum.
var shares = []float64{0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1}

// Summarize works out the figures of some tokens.
func Summarize(tokens []Token) Figures {
	f := Figures{Tokens: len(tokens)}
	n := len(tokens)
	nll, ref, kl, dp, dp2 := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	same := 0
	for i, t := range tokens {
		nll[i], ref[i], kl[i] = t.NLL, t.RefNLL, t.KL
		dp[i] = math.Exp(-t.NLL) - math.Exp(-t.RefNLL)
		dp2[i] = dp[i] * dp[i]
		if s := t.NLL + t.RefNLL + t.KL; math.IsNaN(s) || math.IsInf(s, 0) {
			f.NonFinite++
		}
		if t.Same {
			same++
		}
	}
	f.NLL, f.RefNLL = mean(nll), mean(ref)
	cov := covariance(nll, ref) / float64(n-1)
	f.perplexities(cov)
	f.KL, f.DeltaP = mean(kl), mean(dp)
	f.DeltaPRMS = mean(dp2)
	f.DeltaPRMS.Value = math.Sqrt(f.DeltaPRMS.Value)
	f.DeltaPRMS.Err *= 0.5 / f.DeltaPRMS.Value
	p := float64(same) / float64(n)
	f.Top1 = Estimate{p, math.Sqrt(p * (1 - p) / float64(n-1))}
	if f.NonFinite > 0 {
		f.Top1 = Estimate{math.NaN(), math.NaN()}
	}
	f.KLShares, f.DeltaPParts = quantiles(kl), quantiles(dp)
	return f
}

// perplexities fills in what follows from both NLL and the covariance of their
// means.
func (f *Figures) perplexities(cov float64) {
	sum := func(a, b, cov float64) float64 { return math.Sqrt(max(float64(a*a)+float64(b*b)-2*cov, 0)) }
	f.LogRatio = Estimate{f.NLL.Value - f.RefNLL.Value, sum(f.NLL.Err, f.RefNLL.Err, cov)}
	exp := func(e Estimate) Estimate { v := math.Exp(e.Value); return Estimate{v, v * e.Err} }
	f.PPL, f.RefPPL, f.PPLRatio = exp(f.NLL), exp(f.RefNLL), exp(f.LogRatio)
	f.PPLDiff = Estimate{f.PPL.Value - f.RefPPL.Value, sum(f.PPL.Err, f.RefPPL.Err, f.PPL.Value*f.RefPPL.Value*cov)}
	f.Correlation = cov / (f.NLL.Err * f.RefNLL.Err)
}

// mean returns the mean and its standard error.
func mean(x []float64) Estimate {
	if len(x) == 0 {
		return Estimate{math.NaN(), math.NaN()}
	}
	m := 0.0
	for _, v := range x {
		m += v
	}
	m /= float64(len(x))
	if len(x) < 2 {
		return Estimate{m, math.NaN()}
	}
	return Estimate{m, math.Sqrt(covariance(x, x) / float64(len(x)-1))}
}

// covariance divides by n, as llama.cpp does.
func covariance(x, y []float64) float64 {
	var mx, my, sum float64
	n := float64(len(x))
	for i := range x {
		mx, my = mx+x[i], my+y[i]
	}
	mx, my = mx/n, my/n
	for i := range x {
		sum += float64((x[i] - mx) * (y[i] - my))
	}
	return sum / n
}

// quantiles interpolates linearly between order statistics; x is sorted.
func quantiles(x []float64) []Quantile {
	slices.Sort(x) // NaN first
	list := make([]Quantile, len(shares))
	for i, s := range shares {
		list[i] = Quantile{s, math.NaN()}
		if len(x) == 0 || math.IsNaN(x[0]) {
			continue
		}
		at := float64(s * float64(len(x)-1))
		lo := int(at)
		hi := min(lo+1, len(x)-1)
		part := at - float64(lo)
		if list[i].Value = x[lo]; part > 0 {
			list[i].Value = float64((1-part)*x[lo]) + float64(part*x[hi])
		}
	}
	return list
}

// Bucket is a range of 1-based positions within a sequence.
type Bucket struct{ From, To int }

// String returns "17-32".
func (b Bucket) String() string { return fmt.Sprintf("%d-%d", b.From, b.To) }

// BucketOf returns the bucket of a position: 1-16, 17-32, and so on by powers of
// two.
func BucketOf(position int) Bucket {
	b := Bucket{1, 16}
	for position > b.To {
		b = Bucket{b.To + 1, 2 * b.To}
	}
	return b
}

// BucketFigures are the figures of the tokens of a bucket.
type BucketFigures struct {
	Bucket
	Figures
}

// ByPosition works out the figures by bucket, in order; positions are 1-based.
func ByPosition(tokens []Token, positions []int) []BucketFigures {
	parts := map[Bucket][]Token{}
	for i, t := range tokens {
		b := BucketOf(positions[i])
		parts[b] = append(parts[b], t)
	}
	var list []BucketFigures
	for b, part := range parts {
		list = append(list, BucketFigures{b, Summarize(part)})
	}
	slices.SortFunc(list, func(a, b BucketFigures) int { return a.From - b.From })
	return list
}
