package remote

import (
	"container/list"
	"sync"
)

// cacheBytes is what all files of a client keep of what they read.
const cacheBytes = 64 << 20

// cache keeps the blocks that were used last. Two that want the same block at
// once cause one request.
type cache struct {
	limit int64

	mu     sync.Mutex
	blocks map[blockKey]*list.Element // of *block
	order  list.List                  // the last used one first
	used   int64                      // bytes of finished blocks
}

type blockKey struct {
	file  *file
	start int64
}

type block struct {
	key   blockKey
	ready chan struct{} // closed when data or err is there
	data  []byte
	err   error
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, blocks: map[blockKey]*list.Element{}}
}

// get returns a block, which nobody may change, and loads it if it is not there.
func (c *cache) get(key blockKey, load func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e := c.blocks[key]; e != nil {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		b := e.Value.(*block)
		<-b.ready
		return b.data, b.err
	}
	b := &block{key: key, ready: make(chan struct{})}
	e := c.order.PushFront(b)
	c.blocks[key] = e
	c.mu.Unlock()

	b.data, b.err = load()
	close(b.ready)
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.err != nil {
		c.order.Remove(e)
		delete(c.blocks, key)
		return nil, b.err
	}
	c.used += int64(len(b.data))
	for e := c.order.Back(); e != nil && c.used > c.limit; {
		old := e
		e = e.Prev()
		select {
		case <-old.Value.(*block).ready:
			c.drop(old)
		default: // on its way, not counted yet
		}
	}
	return b.data, nil
}

// drop forgets a finished block. Callers hold mu.
func (c *cache) drop(e *list.Element) {
	b := e.Value.(*block)
	if b.err == nil {
		c.used -= int64(len(b.data))
	}
	c.order.Remove(e)
	delete(c.blocks, b.key)
}

// forget drops what a file has.
func (c *cache) forget(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; {
		next := e.Next()
		b := e.Value.(*block)
		select {
		case <-b.ready:
			if b.key.file == f {
				c.drop(e)
			}
		default:
		}
		e = next
	}
}
