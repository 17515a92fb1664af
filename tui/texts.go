package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/model"
)

// textsBox shows how the variants of a model continue a prompt, side by side. It
// is kept when it is closed, so that it can be looked at again.
type textsBox struct {
	lensOf
	plan   merge.Plan
	opt    merge.GenerateOptions
	run    generator
	cancel context.CancelFunc

	seen  merge.GenerationSnapshot // what the last poll saw
	err   error
	ended bool

	cur int // variant that is held against the reference
	top int // first line of the texts that is shown
}

// generator is a generation as the interface sees it.
type generator interface {
	Run(context.Context) (*merge.GenerationReport, error)
	Snapshot() merge.GenerationSnapshot
}

// openTexts shows the last texts if they are of this plan, else asks for a
// prompt; from within texts it asks for another one.
func (a *app) openTexts() tea.Cmd {
	x, open := a.topOverlay().(*textsBox)
	if !open && a.texts != nil && a.texts.plan.Equal(a.history.Now()) {
		a.push(a.texts)
		return nil
	}
	opt := merge.GenerateOptions{Tokens: merge.DefaultLength}
	if open {
		opt = x.opt
	} else if a.texts != nil {
		opt = a.texts.opt
	}
	a.push(newPrompt("continue a prompt", `a text for the model to continue, with the base, the adapter kept separate and the plan's merge; "in quotes" it may have \n and \t and end with a space`, written(opt.Prompt),
		func(a *app, p *prompt, text string) tea.Cmd {
			var err error
			switch opt.Prompt, err = read(text); {
			case err != nil:
				return p.refuse(err.Error())
			case opt.Prompt == "":
				return p.refuse("a text is needed")
			}
			return a.generate(p, x, opt)
		}))
	return nil
}

// askSampling asks how tokens are drawn and generates anew.
func (a *app) askSampling() tea.Cmd {
	x, ok := a.topOverlay().(*textsBox)
	if !ok {
		return nil
	}
	a.push(newPrompt("how tokens are chosen", "greedy, or some of temperature=T, top-k=K, top-p=P and seed=N with commas between: temperature=0.8,top-p=0.95,seed=7", x.opt.Sampling.String(),
		func(a *app, p *prompt, text string) tea.Cmd {
			s, err := model.ParseSampling(text)
			if err != nil {
				return p.refuse(err.Error())
			}
			opt := x.opt
			opt.Sampling = s
			return a.generate(p, x, opt)
		}))
	return nil
}

// moreText generates twice as many tokens.
func (a *app) moreText() tea.Cmd {
	x, ok := a.topOverlay().(*textsBox)
	if !ok {
		return nil
	}
	opt := x.opt
	opt.Tokens *= 2
	return a.generate(nil, x, opt)
}

// generate begins texts in the place of those before; p asked for them.
func (a *app) generate(p *prompt, before *textsBox, opt merge.GenerateOptions) tea.Cmd {
	plan := a.history.Now()
	opt.Variants = merge.EvalOptions{Plans: []merge.NamedPlan{{Name: merge.VariantPlan, Plan: plan}}, Workers: a.opt.Workers, Unsafe: a.how.unsafe, Calibrate: a.how.calibrate}
	g, err := a.eng.generation(plan, opt)
	if err != nil {
		if p == nil {
			before.err = err
			return nil
		}
		return p.refuse(err.Error())
	}
	if p != nil {
		a.pop(p)
	}
	x := &textsBox{plan: plan, opt: opt, run: g, cur: -1}
	if before != nil {
		before.end(a)
		x.cur = before.cur
	}
	var ctx context.Context
	ctx, x.cancel = context.WithCancel(a.ctx)
	a.texts = x
	a.push(x)
	run := a.work(func() tea.Msg {
		defer x.cancel()
		_, err := g.Run(ctx)
		return textsDoneMsg{x, err}
	})
	return tea.Batch(run, a.after(pollEvery, textsPollMsg{x}))
}

// textsPollMsg looks at texts that are being generated.
type textsPollMsg struct{ box *textsBox }

func (msg textsPollMsg) arrive(a *app) tea.Cmd {
	if msg.box.ended {
		return nil
	}
	msg.box.look()
	return a.after(pollEvery, msg)
}

// textsDoneMsg is the end of a generation.
type textsDoneMsg struct {
	box *textsBox
	err error
}

func (msg textsDoneMsg) arrive(a *app) tea.Cmd {
	x := msg.box
	x.look()
	x.ended, x.err = true, msg.err
	if errors.Is(x.err, context.Canceled) && a.texts == x {
		a.texts = nil
	}
	return nil
}

// look takes up a snapshot; the cursor begins on the last variant.
func (x *textsBox) look() {
	x.seen = x.run.Snapshot()
	if n := len(x.variants()); x.cur < 0 && n > 0 {
		x.cur = n - 1
	}
}

// end closes texts; those that are being generated end.
func (x *textsBox) end(a *app) {
	x.cancel()
	a.pop(x)
}

func (x *textsBox) scope() scope { return inTexts }

func (x *textsBox) hints() []lensHint {
	return []lensHint{
		{"move.left move.right", "variant"},
		{"move.up move.down", "scroll"},
		{"texts.sample", "draw"},
		{"texts.more", "longer"},
		{"lens.texts", "other prompt"},
		{"app.copy", "copy"},
		{"app.help", "help"},
	}
}

func (x *textsBox) variants() []*merge.VariantText {
	if x.seen.Report == nil {
		return nil
	}
	return x.seen.Report.Variants
}

// reference is the index of the variant that others are held against.
func (x *textsBox) reference() int {
	return slices.IndexFunc(x.variants(), func(v *merge.VariantText) bool { return v.Name == x.seen.Report.Reference })
}

// move scrolls, or goes to the next variant that is not the reference.
func (x *textsBox) move(_ *app, dr, dc int) tea.Cmd {
	x.top = between(x.top+dr, 0, farAway)
	n := len(x.variants())
	if dc == 0 || n < 2 {
		return nil
	}
	for step := 0; step == 0 || x.cur == x.reference(); step++ {
		x.cur = ((x.cur+dc)%n + n) % n
	}
	return nil
}

func (x *textsBox) cycle() { x.move(nil, 0, 1) }

// copyText is all texts with what is said of them.
func (x *textsBox) copyText() string {
	if x.seen.Report == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", x.opt.Prompt)
	for i, v := range x.variants() {
		fmt.Fprintf(&b, "\n%s: %s\n%s\n", v.Name, x.verdict(i), v.Text)
	}
	return b.String()
}

// verdict says where a variant parts from the reference.
func (x *textsBox) verdict(i int) string {
	v, name := x.variants()[i], x.seen.Report.Reference
	d := v.Divergence
	switch {
	case i == x.reference():
		return v.What
	case d == nil && x.ended:
		return "the text of " + name
	case d == nil:
		return "so far the text of " + name
	}
	return fmt.Sprintf("parts from %s at token %d: %s, there %s", name, d.At+1, forkText(d.Variant, name), forkText(d.Reference, name))
}

// forkText is a token where texts part, and how likely both found it.
func forkText(t *merge.ForkToken, by string) string {
	if t == nil {
		return "the text has ended"
	}
	return fmt.Sprintf("%q (p %.3g, by %s %.3g)", t.Text, float64(t.ByVariant), by, float64(t.ByReference))
}

// written is a prompt as it is typed: in quotes if it has line breaks or spaces
// around it.
func written(s string) string {
	if q := strconv.Quote(s); s != strings.TrimSpace(s) || strings.HasPrefix(s, `"`) || strings.ContainsAny(s, "\n\t") {
		return q
	}
	return s
}

// read is the prompt that was typed.
func read(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	text, err := strconv.Unquote(s)
	if err != nil {
		return "", errors.New("what begins with a quote is to end with one, with \\n, \\t, \\\" and \\\\ for what cannot be typed")
	}
	return text, nil
}
