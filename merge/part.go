package merge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
)

// Part is the part of an output that one of several processes writes, all of
// them into the same directory. The zero value is all of it.
type Part struct {
	Index int // from 1
	Count int
}

func (s Part) on() bool { return s.Count > 0 }

// String returns "2/4".
func (s Part) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// check refuses what is no part.
func (s Part) check() error {
	if s != (Part{}) && (s.Index < 1 || s.Index > s.Count) {
		return fmt.Errorf("part %s: there is no such part", s)
	}
	return nil
}

// Errors of jobs that have nothing left to do for themselves. Nothing failed.
var (
	// ErrPartWritten: all parts are written, what is left is to complete the
	// output.
	ErrPartWritten = errors.New("all parts are written")
	// ErrParts: the output cannot be completed yet, or another process does so.
	ErrParts = errors.New("the output is completed by the process that is last")
)

// stateName and lockName are those of the part's process in the directory.
func (s Part) stateName() string {
	if !s.on() {
		return stateName
	}
	return fmt.Sprintf("mergescope-state-%d-of-%d.json", s.Index, s.Count)
}

func (s Part) lockName() string {
	if !s.on() {
		return lockName
	}
	return fmt.Sprintf("mergescope-%d-of-%d.lock", s.Index, s.Count)
}

var partFile = regexp.MustCompile(`^mergescope(-state)?-([0-9]{1,9})-of-([0-9]{1,9})\.(json|lock)(\.tmp)?$`)

// partOf returns the part that a file name belongs to; state says that it is
// that of its state.
func partOf(name string) (s Part, state, ok bool) {
	m := partFile.FindStringSubmatch(name)
	if m == nil {
		return s, false, false
	}
	s.Index, _ = strconv.Atoi(m[2]) // at most nine digits
	s.Count, _ = strconv.Atoi(m[3])
	return s, name == s.stateName(), true
}

// partsIn lists the parts of which a directory holds a state.
func partsIn(root *os.Root) ([]Part, error) {
	list, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var out []Part
	for _, e := range list {
		if s, state, _ := partOf(e.Name()); state {
			out = append(out, s)
		}
	}
	return out, nil
}

// removeParts removes what the processes of parts leave behind.
func removeParts(root *os.Root) error {
	list, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range list {
		if _, _, ok := partOf(e.Name()); !ok {
			continue
		}
		if err := root.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// mergedCost is how much longer a byte of a merged weight takes than a copied
// one, roughly.
const mergedCost = 4

// deal returns the slots that a part writes. Weights are dealt out whole and in
// the order of the files, so that most files have one writer; the cuts depend
// on nothing but the layout and the number of parts.
func (o *output) deal(s Part) map[*slot]bool {
	type unit struct {
		slots []*slot
		cost  int64
	}
	var units []*unit
	of := map[string]*unit{}
	var total int64
	for _, file := range o.shards {
		for _, list := range [...][]*slot{file.layout.slots, file.layout.absent} {
			for _, t := range list {
				u, cost := of[t.owner], t.size
				if t.owner == "" || u == nil {
					u = &unit{}
					units = append(units, u)
				}
				if t.owner != "" {
					of[t.owner], cost = u, mergedCost*t.size
				}
				u.slots, u.cost = append(u.slots, t), u.cost+cost
				total += cost
			}
		}
	}
	mine := map[*slot]bool{}
	var at int64
	for _, u := range units {
		middle := float64(at) + float64(u.cost)/2
		at += u.cost
		if i := int(middle / float64(max(total, 1)) * float64(s.Count)); min(i, s.Count-1) != s.Index-1 {
			continue
		}
		for _, t := range u.slots {
			mine[t] = true
		}
	}
	return mine
}

// writes reports whether a slot is this process's to write.
func (o *output) writes(t *slot) bool { return o.mine == nil || o.mine[t] }

// partTensors names the tensors that the part of a spec writes.
func partTensors(spec outputSpec) (map[string]bool, error) {
	o := &output{spec: spec}
	if err := o.arrange(nil); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for t := range o.mine {
		names[t.name] = true
	}
	return names, nil
}

// finishPart ends a part: what it wrote is on disk before its state says so.
func (o *output) finishPart(ctx context.Context) error {
	for _, s := range o.shards {
		for _, t := range s.layout.slots {
			if o.writes(t) && !t.done {
				return fmt.Errorf("output %s: %s: tensor %s is not written", o.spec.dir, s.name, t.name)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.dev == nil {
			continue
		}
		if err := s.dev.Sync(); err != nil {
			return fmt.Errorf("output %s: %s: %w", o.spec.dir, s.name, err)
		}
		if err := syncDir(o.root, path.Dir(s.name)); err != nil {
			return fmt.Errorf("output %s: %w", o.spec.dir, err)
		}
	}
	o.mu.Lock()
	o.state.Complete = true
	o.mu.Unlock()
	return o.save(true)
}
