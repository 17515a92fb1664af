package merge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"mergescope/loader"
)

// outputSpec says what an output directory becomes.
type outputSpec struct {
	dir      string
	model    *loader.Checkpoint
	against  *loader.Checkpoint // the quantized model, if model is its original
	adapters []*loader.Adapter
	layers   []Layer
	extra    []outTensor // tensors that replace the model's of the same name, or are new
	untied   bool        // config.json is to say that the embeddings are not tied
	quantize string      // what weights are quantized to, as in the plan
	plan     string      // digest of everything besides the inputs that decides a byte

	part   Part // what to write; the zero value is all of it
	join   int  // complete what so many parts have written; 0: there are none
	resume bool // only if there is an unfinished run

	progress func(bytes int64) // told of the bytes copyRest copies; nil for nobody
}

// output is the sink of a checkpoint directory. Until finish succeeds the
// directory holds no configuration, and unfinished weights carry another name,
// so nothing loads it; at any moment the process may end, and a later run of
// the same plan goes on from there.
type output struct {
	spec   outputSpec
	root   *os.Root
	lock   *dirLock
	shards []*shard
	owned  map[string][]*slot // by weight name, absent ones too
	mine   map[*slot]bool     // those of the part; nil: all

	residuals []residual

	create func(*os.Root, string) (device, error)
	every  time.Duration // least time between two saves of the state

	mu    sync.Mutex // guards the fields below
	state *state
	saved time.Time
	dirty bool
}

// models are the checkpoints that are read.
func (s outputSpec) models() []*loader.Checkpoint {
	if s.against != nil {
		return []*loader.Checkpoint{s.model, s.against}
	}
	return []*loader.Checkpoint{s.model}
}

func (s outputSpec) inputPaths() []string { return inputPaths(s.models(), s.adapters) }

// saveEvery bounds how much finished work a crash can lose.
const saveEvery = time.Second

// openOutput locks the directory, checks what an earlier run left and makes
// ready to write the rest.
func openOutput(ctx context.Context, spec outputSpec) (*output, error) {
	o := &output{spec: spec, create: createFile, every: saveEvery}
	return o, o.open(ctx)
}

// checkOutput refuses what openOutput would refuse, but for a lock or a full
// disk, and writes nothing.
func checkOutput(spec outputSpec) error {
	if err := spec.checkPlace(); err != nil {
		return err
	}
	if spec.part.on() || spec.join > 0 {
		return nil // without a lock others may be at work
	}
	root, err := os.OpenRoot(spec.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && spec.resume:
		return refusef("output %s: there is no unfinished run to resume", spec.dir)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("output: %w", err)
	}
	defer root.Close()
	old, err := loadState(root, stateName)
	if err == nil && old != nil {
		var fresh *state
		if fresh, err = startState(spec); err == nil {
			err = old.matches(fresh)
		}
	}
	if err == nil && spec.resume && !holdsRun(root) {
		err = refusef("it holds no unfinished run to resume")
	}
	if err != nil {
		return fmt.Errorf("output %s: %w", spec.dir, err)
	}
	return nil
}

// checkPlace refuses a directory that is no place for the output. Where several
// processes work, files that do not belong there are looked for under the lock.
func (s outputSpec) checkPlace() error {
	if s.part.on() || s.join > 0 {
		_, err := checkApart(s.dir, s.inputPaths())
		return err
	}
	return checkTarget(s.dir, s.inputPaths())
}

// startState returns the state a run begins with, nothing finished.
func startState(spec outputSpec) (*state, error) {
	inputs, err := identifyAll(spec.models(), spec.adapters)
	return newState(spec.plan, inputs), err
}

// open is openOutput once the seams for tests are in place.
func (o *output) open(ctx context.Context) error {
	dir := o.spec.dir
	if err := o.spec.checkPlace(); err != nil {
		return err
	}
	_, err := os.Lstat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if err := o.begin(ctx); err != nil {
		_ = o.close()
		if made {
			_ = os.Remove(dir) // succeeds only if it is empty
		}
		return fmt.Errorf("output %s: %w", dir, err)
	}
	return nil
}

// begin is open once the directory exists.
func (o *output) begin(ctx context.Context) (err error) {
	if o.root, err = os.OpenRoot(o.spec.dir); err != nil {
		return err
	}
	if o.state, err = startState(o.spec); err != nil {
		return err
	}
	old, err := o.enter(ctx)
	if err != nil {
		return err
	}
	if old != nil {
		if err := old.matches(o.state); err != nil {
			return err
		}
		if !o.spec.part.on() {
			o.state.Kept = old.Kept
		}
	}
	if err := o.arrange(o.state.Kept); err != nil {
		return err
	}
	if old != nil {
		if err := o.resume(ctx, old, o.state); err != nil {
			return err
		}
	}
	if err := o.checkSpace(); err != nil {
		return err
	}
	if err := o.save(true); err != nil {
		return err
	}
	return o.finishReady(ctx)
}

// arrange lays out every file and finds the slots of each weight.
func (o *output) arrange(kept map[string]bool) error {
	o.shards, o.owned = nil, map[string][]*slot{}
	for _, f := range o.spec.model.Files {
		l, err := o.layoutOf(f, kept)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Rel, err)
		}
		s := &shard{name: f.Rel, input: f, layout: l, left: len(l.slots) + len(l.absent)}
		for _, list := range [][]*slot{l.slots, l.absent} {
			for _, slot := range list {
				slot.file = s
				if slot.owner != "" {
					o.owned[slot.owner] = append(o.owned[slot.owner], slot)
				}
			}
		}
		o.shards = append(o.shards, s)
	}
	if o.spec.part.on() {
		o.mine = o.deal(o.spec.part)
	}
	var err error
	if o.residuals, err = residuals(o.spec.layers, o.spec.dir); err != nil {
		return err
	}
	_, err = o.config(kept) // to know now what else would fail after hours of merging
	return err
}

// layoutOf lays out what becomes of one input file.
func (o *output) layoutOf(f *loader.File, kept map[string]bool) (*layout, error) {
	list := tensorsOf(o.spec.model, f, o.spec.layers, o.spec.extra, kept)
	if list == nil {
		return keepLayout(o.spec.model, f)
	}
	return newLayout(f.Metadata, list)
}

// errNoRoom marks the refusal of an output that the disk cannot hold.
var errNoRoom = errors.New("not enough room")

// diskAlert is what a job that ended with an error says of the disk.
func diskAlert(err error) []Alert {
	if errors.Is(err, errNoRoom) || errors.Is(err, syscall.ENOSPC) {
		return []Alert{newAlert(Error, CodeDisk, "", err.Error())}
	}
	return nil
}

// checkSpace refuses to begin what the disk cannot hold.
func (o *output) checkSpace() error {
	var need int64
	for _, s := range o.shards {
		need += s.layout.start()
		for _, slot := range s.layout.slots {
			if !slot.done && o.writes(slot) {
				need += slot.size
			}
		}
	}
	for _, r := range o.residuals {
		need += r.size()
	}
	for _, name := range o.spec.model.Other {
		if info, err := fs.Stat(o.spec.model.FS(), name); err == nil {
			need += info.Size()
		}
	}
	if free := freeBytes(o.root.Name()); free >= 0 && free < need {
		return refusef("%w: %d more bytes are needed, %d are free on its disk", errNoRoom, need, free)
	}
	return nil
}

// finishReady completes files that have nothing left to be written: an earlier
// run ended just before, or they hold no tensors.
func (o *output) finishReady(ctx context.Context) error {
	for _, s := range o.shards {
		if s.left == 0 && !s.done {
			if err := s.finish(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// save writes the state if it changed and the last save is a while ago, or if
// it must be on disk now.
func (o *output) save(now bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !now && (!o.dirty || time.Since(o.saved) < o.every) {
		return nil
	}
	if err := o.state.save(o.root, o.stateName()); err != nil {
		return fmt.Errorf("%s: %w", o.stateName(), err)
	}
	o.saved, o.dirty = time.Now(), false
	return nil
}

// close lets go of the directory. Without finish it stays resumable. Nothing
// may be writing any more.
func (o *output) close() error {
	if o.root == nil {
		return nil
	}
	var err error
	if o.dirty {
		err = o.save(true)
	}
	for _, s := range o.shards {
		if s.dev != nil {
			s.dev.Close()
			s.dev = nil
		}
	}
	if o.lock != nil {
		o.lock.release()
	}
	o.root.Close()
	o.lock, o.root = nil, nil
	return err
}
