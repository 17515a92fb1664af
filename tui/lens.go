package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
)

// lens is an overlay that shows something to look around in, so its keys are in
// the registry under a scope of its own, beside those that work everywhere.
type lens interface {
	overlay
	scope() scope
	move(a *app, dr, dc int) tea.Cmd
	hints() []lensHint
	end(a *app) // gives up what it is at, and closes
}

// deeper is a lens whose cursor leads somewhere.
type deeper interface{ enter(a *app) tea.Cmd }

// graded is a lens that knows what is worst in it, and what comes next.
type graded interface {
	worst(a *app)
	next(a *app, d int)
}

// lensHint is a word of the footer for some actions, their ids with spaces
// between.
type lensHint struct{ ids, word string }

// lensOf is the part of a lens that its keys do not need.
type lensOf struct{}

// key is not used: press sends keys through the registry.
func (lensOf) key(*app, tea.KeyPressMsg) tea.Cmd { return nil }

// topLens returns the lens that gets the keys, nil if there is none.
func (a *app) topLens() lens {
	l, _ := a.topOverlay().(lens)
	return l
}

// lensHints is the footer of a lens: the way back, then as many keys as fit.
// The spans are where the mouse finds them.
func (a *app) lensHints(c canvas, l lens, w int) (line string, spans []hintSpan) {
	line = " "
	for _, h := range append([]lensHint{{"go.back", "back"}}, l.hints()...) {
		hint := ""
		var keys []hintSpan
		for id := range strings.FieldsSeq(h.ids) {
			x, from := a.byID(id), width(line+hint)
			hint += c.paint.text(themes.Key, hintKey(c, x)) + " "
			keys = append(keys, hintSpan{from, width(line + hint), x})
		}
		if hint += h.word + "  "; width(line+hint) > w+1 {
			continue
		}
		line += hint
		keys[len(keys)-1].to = width(line) - 2 // the word too
		spans = append(spans, keys...)
	}
	return c.fit(line, w), spans
}

func lensActions() []action {
	return []action{
		{"lens.insight", []string{"I"}, inPanes, "insight", "Insight into all layers", "Delta ratio against kept with what theory says, the spread of kept, kept over the depth of the model.", (*app).noFigures, (*app).openInsight},
		{"lens.compare", []string{"W"}, inPanes | inCompare, "", "Compare with another plan…", "The layer under the plan and under another one, side by side: bf16, dithered, another scale, the saved plan, another adapter.", (*app).noPlanned, (*app).askCompare},
		{"lens.audit", []string{"K"}, inPanes | inAudit, "", "Audit a merged checkpoint…", "Check whether a merged checkpoint, whoever made it, holds what the plan says: applied, wrong scale, missing, twice, other base or adapter.", (*app).noPlanned, (*app).openAudit},
		{"lens.texts", []string{"P"}, inPanes | inTexts, "", "Continue a prompt side by side…", "What the base, the separate adapter and the plan's merge make of a prompt, with the first token where they part.", (*app).noPlanned, (*app).openTexts},
		{"texts.sample", []string{"%"}, inTexts, "", "Draw tokens otherwise…", "Take the likeliest token each time, or draw with a temperature, top-k, top-p and a seed.", nil, (*app).askSampling},
		{"texts.more", []string{"+"}, inTexts, "", "Longer texts", "Generate twice as many tokens.", nil, (*app).moreText},
		{"lens.ladder", nil, inPanes, "", "Compare the ways to ship the adapter…", "Run the model with the adapter merged as PEFT does, dithered, calibrated, with the worst layers in bf16, and kept separate: size, kept, KL, NLL and time, and which is advised.", (*app).noEval, (*app).openLadder},
		{"lens.eval", []string{"F"}, inPanes | inEval, "", "Run the model over a text…", "Run the model with the adapter separate and merged by the plan over a text of yours: KL, perplexity and the likeliest token by position, text and depth, with standard errors.", (*app).noEval, (*app).openEval},
	}
}

// nextView shows the block pane's next view, or the next chart.
func (a *app) nextView() tea.Cmd {
	if x, ok := a.topOverlay().(interface{ cycle() }); ok {
		x.cycle()
		return nil
	}
	return a.view(a.block.cycle())
}
