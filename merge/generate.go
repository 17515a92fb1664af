package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"mergescope/loader"
	"mergescope/model"
)

// GenerateOptions say what a generation continues, and with which variants.
type GenerateOptions struct {
	Prompt   string
	IDs      []int32 // the prompt as tokens, instead of Prompt
	Tokens   int     // at most so many behind it; 0 means DefaultLength
	Sampling model.Sampling

	Variants EvalOptions // Merged, Plans, Bases, Unsafe, Workers and Now; the rest is about texts
}

// generationRoom is how many bytes of merged weights a generation keeps, so that
// they are not merged anew for every token. Weights beyond it are.
const generationRoom = 2 << 30

// DefaultLength is how many tokens a generation has unless asked otherwise.
const DefaultLength = 60

// Generation continues a prompt with the variants that an evaluation has, side
// by side. Run it once; Snapshot may be called at any time.
type Generation struct {
	eval   *Eval // opens the variants
	opt    GenerateOptions
	tok    Tokenizer // nil if the model has none
	prompt []int32
	stop   []int32
	texts  []*pieces // by variant
	broken map[int]bool

	mu     sync.Mutex // guards the fields below
	state  State
	err    error
	clock  stopwatch
	done   int // tokens
	report *GenerationReport
}

// NewGeneration checks everything that can be checked without reading weights.
// plan says which adapters are kept separate in the reference. A prompt of text
// needs the model's tokenizer; text without any token is an error.
func NewGeneration(p *Project, plan Plan, opt GenerateOptions) (*Generation, error) {
	e, err := newEval(p, plan, opt.Variants)
	if err != nil {
		return nil, err
	}
	if opt.Tokens == 0 {
		opt.Tokens = DefaultLength
	}
	e.room = &atomic.Int64{}
	e.room.Store(generationRoom)
	g := &Generation{eval: e, opt: opt, prompt: opt.IDs, broken: map[int]bool{}}
	if g.stop, err = stopTokens(p.Model); err != nil {
		return nil, err
	}
	g.tok, err = tokenizerOf(p.Model, e.cfg)
	switch {
	case len(opt.IDs) > 0:
		g.opt.Prompt = newPieces(g.tok, nil).all(g.prompt) // without a tokenizer tokens stay numbers
	case err != nil:
		return nil, err
	default:
		if err := g.encode(opt.Prompt); err != nil {
			return nil, fmt.Errorf("prompt: %w", err)
		}
	}
	if n := len(g.prompt) + opt.Tokens; n > e.cfg.MaxPositions {
		e.log.Add(newAlert(Warning, CodeLongWindow, "", fmt.Sprintf("texts of %d tokens, prompt included, are longer than the %d positions of config.json", n, e.cfg.MaxPositions)))
	}
	return g, nil
}

// encode makes the prompt of a text.
func (g *Generation) encode(text string) error {
	ids, err := g.tok.Encode(text)
	if err != nil {
		return err
	}
	unknown := 0
	for _, id := range ids {
		if id == g.tok.Unknown() {
			unknown++
		}
	}
	if unknown > 0 {
		g.eval.log.Add(newAlert(Warning, CodeUnknownTokens, "", fmt.Sprintf("prompt: %s of it not in the vocabulary: the texts continue another one", count(unknown, "token"))))
	}
	if bos := g.tok.BOS(); bos >= 0 {
		ids = append([]int32{bos}, ids...)
	}
	if len(ids) == 0 {
		return errors.New("there are no tokens")
	}
	g.prompt = ids
	return nil
}

// stopTokens are the ids of eos_token_id: those of generation_config.json, else
// those of config.json.
func stopTokens(c *loader.Checkpoint) ([]int32, error) {
	const file = "generation_config.json"
	text, err := fs.ReadFile(c.FS(), file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, text := range [][]byte{text, c.Config.Raw} {
		var raw struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		if text == nil || json.Unmarshal(text, &raw) != nil || len(raw.EOS) == 0 || string(raw.EOS) == "null" {
			continue
		}
		var one int32
		if json.Unmarshal(raw.EOS, &one) == nil {
			return []int32{one}, nil
		}
		var list []int32
		if err := json.Unmarshal(raw.EOS, &list); err != nil {
			return nil, fmt.Errorf("%s: eos_token_id: %w", c.Name, err)
		}
		return list, nil
	}
	return nil, nil
}

// Run generates and returns the report. Ended by ctx it returns what it has, nil if
// that is nothing, and ctx.Err(). All goroutines it starts have ended when it
// returns.
func (g *Generation) Run(ctx context.Context) (*GenerationReport, error) {
	g.mu.Lock()
	if g.state != Idle {
		g.mu.Unlock()
		return nil, errors.New("a generation runs only once")
	}
	g.state = Running
	g.clock.run(true, time.Now())
	g.mu.Unlock()
	err := g.work(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clock.run(false, time.Now())
	g.state, g.err = stateAfter(ctx, err), err
	return g.report, err
}

func (g *Generation) work(ctx context.Context) error {
	e := g.eval
	if err := e.prepare(ctx); err != nil {
		return err
	}
	for range e.variants {
		g.texts = append(g.texts, newPieces(g.tok, g.prompt))
	}
	_, err := model.Generate(ctx, e.cfg, e.variantsDuring(ctx), g.prompt, model.GenerateOptions{
		Options: model.Options{Workers: g.opt.Variants.Workers}, Sampling: g.opt.Sampling,
		Tokens: g.opt.Tokens, Stop: g.stop, Reference: reference, Step: g.publish,
	})
	return err
}

// GenerationSnapshot is a generation at one moment.
type GenerationSnapshot struct {
	State        State
	Phase        string // what it does before the model runs, "" then
	Err          error
	Elapsed      time.Duration
	Done, Tokens int               // tokens of each variant, and how many it may have
	Report       *GenerationReport // of the tokens so far; nil before the first
}

// Snapshot copies what a watcher needs.
func (g *Generation) Snapshot() GenerationSnapshot {
	phase := g.eval.Snapshot().Phase
	g.mu.Lock()
	defer g.mu.Unlock()
	return GenerationSnapshot{
		State: g.state, Phase: phase, Err: g.err, Elapsed: g.clock.elapsed(time.Now()),
		Done: g.done, Tokens: g.opt.Tokens, Report: g.report,
	}
}

// stateAfter is the state of what ended with an error, or without.
func stateAfter(ctx context.Context, err error) State {
	switch {
	case err == nil:
		return Done
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return Cancelled
	}
	return Failed
}
