package merge

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// remembered is how many subjects a project keeps for Examine and Explain.
const remembered = 4

// examined is what a project remembers between examinations.
type examined struct {
	mu     sync.Mutex
	plan   Plan
	count  int // adapters the layers were resolved with
	layers []Layer
	recent []recentSubject // the last used one first
}

type recentSubject struct {
	key string
	s   *subject
}

// subject returns a layer ready to be computed, with its nested scales settled.
func (p *Project) subject(ctx context.Context, plan Plan, layer string) (*subject, error) {
	l, err := p.layer(plan, layer)
	if err != nil {
		return nil, err
	}
	opt := p.arithmetic(plan, Options{})
	if l.packedDefect() {
		return nil, layerError(l, errPackedDefect)
	}
	if step, why := l.refusal(opt); step != nil {
		return nil, layerError(l, errors.New(why))
	}
	x := p.known.find(knownKey(l))
	key := fmt.Sprintf("%s %p", l.key(opt), x)
	if s := p.seen.find(key); s != nil {
		return s, nil
	}
	var s *subject
	if l.calibrated() {
		s, err = openKnown(l, x, opt)
	} else {
		s, err = openSubject(l, opt)
	}
	if err != nil {
		return nil, layerError(l, err)
	}
	if x != nil {
		s.seen = x.seen
	}
	if err := s.settleAll(ctx); err != nil {
		return nil, layerError(l, err)
	}
	p.seen.keep(key, s)
	return s, nil
}

// layer resolves the plan, once for many calls, and returns one layer of it
// that there is something to compute for.
func (p *Project) layer(plan Plan, name string) (*Layer, error) {
	e := &p.seen
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.layers == nil || e.count != len(p.Adapters) || !e.plan.Equal(plan) {
		if err := p.Validate(plan); err != nil {
			return nil, err
		}
		e.layers, _ = p.Layers(plan)
		e.plan, e.count = plan, len(p.Adapters)
	}
	for i := range e.layers {
		l := &e.layers[i]
		if l.Weight.Name != name && l.Weight.Param != name {
			continue
		}
		if l.Copies() {
			return nil, fmt.Errorf("layer %s: nothing to merge: %s", name, l.Reason)
		}
		return l, nil
	}
	return nil, fmt.Errorf("the model has no weight %s", name)
}

// key identifies everything that decides the arithmetic on a layer.
func (l *Layer) key(opt mergeOptions) string {
	key := fmt.Sprintf("%s %s %s %v %p", l.Weight.Param, l.Output, l.Method, opt, l.base)
	if l.against != nil {
		key += fmt.Sprintf(" onto %p", l.against)
	}
	if l.into != nil {
		key += fmt.Sprintf(" %v", l.into.Spec())
	}
	for _, s := range l.Steps {
		key += fmt.Sprintf(" %p %p %x %t", s.Adapter, s.Module, s.Scale, s.Transpose)
	}
	return key
}

func (e *examined) find(key string) *subject {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, r := range e.recent {
		if r.key == key {
			copy(e.recent[1:i+1], e.recent[:i])
			e.recent[0] = r
			return r.s
		}
	}
	return nil
}

func (e *examined) keep(key string, s *subject) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recent = append([]recentSubject{{key, s}}, e.recent[:min(len(e.recent), remembered-1)]...)
}
