package merge

import (
	"fmt"
	"math"

	"mergescope/model"
)

// EvalReport says how variants of a model predict a text, against the one with
// the adapters kept separate, in the shape of `verify --json`. It does not
// change once returned.
type EvalReport struct {
	Version   int              `json:"version"`
	Model     ModelInfo        `json:"model"`
	Adapters  []AdapterInfo    `json:"adapters"`
	Plan      string           `json:"plan_digest"`
	Reference string           `json:"reference"` // name of the variant that the others are held against
	Texts     []EvalTextInfo   `json:"texts"`
	Window    int              `json:"window"`   // tokens of a sequence at most
	Windows   int              `json:"windows"`  // that were run
	Tokens    int              `json:"tokens"`   // predicted
	Complete  bool             `json:"complete"` // false: a budget or the user ended it, and figures are those of a part
	Variants  []*VariantReport `json:"variants"`

	Sensitivity *Sensitivity `json:"sensitivity,omitempty"`
	Alerts      []Alert      `json:"alerts"`
	Seconds     float64      `json:"seconds"`
}

// EvalTextInfo names a text of an evaluation.
type EvalTextInfo struct {
	Name   string `json:"name"`
	Tokens int    `json:"tokens"` // of the text that can be predicted
	Run    int    `json:"run"`    // of those
}

// VariantReport is one variant of an evaluation.
type VariantReport struct {
	Name      string           `json:"name"`
	What      string           `json:"what"` // in words
	Figures   EvalFigures      `json:"figures"`
	Positions []PositionReport `json:"positions"`
	Trend     TrendReport      `json:"trend"`
	Texts     []TextReport     `json:"texts"`
	Depth     []Figure         `json:"depth"` // relative rms error of the hidden state after each block

	// Lost is its KL as a share of the base's: 0 if it predicts as the adapter
	// kept separate, 1 if it is as far from that as the model without adapter.
	Lost Figure `json:"effect_lost"`
}

// TextReport is one text of a variant.
type TextReport struct {
	Name      string           `json:"name"`
	Figures   EvalFigures      `json:"figures"`
	Positions []PositionReport `json:"positions"`
}

// PositionReport is a range of positions within a sequence, 1-based.
type PositionReport struct {
	From    int         `json:"from"`
	To      int         `json:"to"`
	Figures EvalFigures `json:"figures"`
}

// TrendReport is whether KL grows with the position; see model.KLTrend.
type TrendReport struct {
	From      int       `json:"from"`
	Sequences int       `json:"sequences"`
	Slope     Uncertain `json:"slope"` // nats by doubling of the position
	P         Figure    `json:"p"`
	Verdict   string    `json:"verdict"` // "grows", "falls", "flat" or "unknown"
}

// Uncertain is a figure with its standard error, null where there is none.
type Uncertain struct {
	Value Figure `json:"value"`
	Error Figure `json:"error"`
}

// EvalFigures are model.Figures for JSON: nats, and probabilities of 0 to 1.
// Errors take tokens to be independent but for kl_sequences, which takes
// sequences to be so and is the wider where tokens of one go together.
type EvalFigures struct {
	Tokens      int        `json:"tokens"`
	NonFinite   int        `json:"nonfinite"`
	NLL         Uncertain  `json:"nll"`
	PPL         Uncertain  `json:"ppl"`
	LogRatio    Uncertain  `json:"ln_ppl_ratio"`
	PPLRatio    Uncertain  `json:"ppl_ratio"`
	PPLDiff     Uncertain  `json:"ppl_difference"`
	Correlation Figure     `json:"nll_correlation"`
	KL          Uncertain  `json:"kl"`
	KLSequences Uncertain  `json:"kl_sequences"`
	KLShares    []Quantile `json:"kl_percentiles"`
	Top1        Uncertain  `json:"top1"`
	DeltaP      Uncertain  `json:"delta_p"`
	DeltaPRMS   Uncertain  `json:"delta_p_rms"`
	DeltaPParts []Quantile `json:"delta_p_percentiles"`
}

// Quantile is the value below which a share of the tokens lies.
type Quantile struct {
	Share float64 `json:"share"`
	Value Figure  `json:"value"`
}

func uncertain(e model.Estimate) Uncertain { return Uncertain{Figure(e.Value), Figure(e.Err)} }

// newEvalFigures works the figures of some tokens out; positions tell their
// sequences.
func newEvalFigures(tokens []model.Token, positions []int) EvalFigures {
	return evalFigures(model.Summarize(tokens), model.KLBySequence(tokens, positions))
}

func evalFigures(f model.Figures, kl model.Estimate) EvalFigures {
	return EvalFigures{
		Tokens: f.Tokens, NonFinite: f.NonFinite,
		NLL: uncertain(f.NLL), PPL: uncertain(f.PPL),
		LogRatio: uncertain(f.LogRatio), PPLRatio: uncertain(f.PPLRatio), PPLDiff: uncertain(f.PPLDiff),
		Correlation: Figure(f.Correlation), KL: uncertain(f.KL), KLSequences: uncertain(kl), KLShares: quantiles(f.KLShares),
		Top1: uncertain(f.Top1), DeltaP: uncertain(f.DeltaP), DeltaPRMS: uncertain(f.DeltaPRMS), DeltaPParts: quantiles(f.DeltaPParts),
	}
}

func quantiles(list []model.Quantile) []Quantile {
	out := make([]Quantile, len(list))
	for i, q := range list {
		out[i] = Quantile{q.Share, Figure(q.Value)}
	}
	return out
}

// positionReports are the figures by bucket of positions.
func positionReports(tokens []model.Token, positions []int) []PositionReport {
	list := []PositionReport{}
	for _, b := range model.ByPosition(tokens, positions) {
		list = append(list, PositionReport{b.From, b.To, evalFigures(b.Figures, model.Estimate{Value: b.KL.Value, Err: math.NaN()})})
	}
	return list
}

// Trends are looked for behind the first positions, where every model still
// finds its way, unless sequences are too short for that.
const (
	trendFrom  = 17
	trendAlpha = 0.01
)

func newTrend(tokens []model.Token, positions []int) TrendReport {
	t := model.KLTrend(tokens, positions, trendFrom)
	if t.Sequences == 0 {
		t = model.KLTrend(tokens, positions, 1)
	}
	r := TrendReport{From: t.From, Sequences: t.Sequences, Slope: uncertain(t.Slope), P: Figure(t.P), Verdict: "flat"}
	switch {
	case math.IsNaN(t.P):
		r.Verdict = "unknown"
	case t.P < trendAlpha && t.Slope.Value > 0:
		r.Verdict = "grows"
	case t.P < trendAlpha:
		r.Verdict = "falls"
	}
	return r
}

// Variant returns the variant of that name, nil if there is none.
func (r *EvalReport) Variant(name string) *VariantReport {
	for _, v := range r.Variants {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// Against is the first variant that a merge made, nil if none did: what the
// evaluation is about.
func (r *EvalReport) Against() *VariantReport {
	if len(r.Variants) > reference+1 {
		return r.Variants[reference+1]
	}
	return nil
}

// Summary is the report in sentences: what changed, how sure that is, and where.
func (r *EvalReport) Summary() []string {
	var list []string
	for i, v := range r.Variants {
		if i <= reference {
			continue
		}
		f := v.Figures
		if f.NonFinite > 0 || math.IsNaN(float64(f.KL.Value)) {
			list = append(list, v.Name+": there are no figures, see the alerts.")
			continue
		}
		text := fmt.Sprintf("%s: KL %.4g ± %.2g nats per token from the separate adapter", v.Name, f.KL.Value, f.KLSequences.Error)
		if e := float64(f.KLSequences.Error); math.IsNaN(e) {
			text = fmt.Sprintf("%s: KL %.4g nats per token from the separate adapter, over one sequence only", v.Name, f.KL.Value)
		}
		text += fmt.Sprintf(", %s as far as the model without the adapter; perplexity ×%.4g; the same token first in %s", Percent(float64(v.Lost)), f.PPLRatio.Value, Percent(float64(f.Top1.Value)))
		switch v.Trend.Verdict {
		case "grows":
			text += fmt.Sprintf("; KL grows with the position, by %.2g a doubling", v.Trend.Slope.Value)
		case "falls":
			text += fmt.Sprintf("; KL falls with the position, by %.2g a doubling", -v.Trend.Slope.Value)
		case "flat":
			text += fmt.Sprintf("; no sure trend of KL with the position (p %.2g)", v.Trend.P)
		}
		list = append(list, text+".")
	}
	if !r.Complete {
		list = append(list, fmt.Sprintf("Only a part of the texts was run (%d tokens): the figures are estimates.", r.Tokens))
	}
	return list
}
