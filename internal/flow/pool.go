package flow

// chunkSize is small enough that a flow with one short message costs little, and large enough that a TLS handshake needs few.
const chunkSize = 512

// slabChunks are allocated at a time: 64 KiB.
const slabChunks = 128

// none is no chunk: the zero index, so that a zeroed table of chunks is an empty one.
const none = 0

// pool hands out chunks by index, from 1, and never more than max. It only grows; what is given back is used again.
type pool struct {
	slabs    [][]byte
	free     []uint32
	made     int
	max      int
	inUse    int
	inUseMax int
}

// available says how many chunks can be had.
func (p *pool) available() int { return p.max - p.inUse }

// get must not be called when none is available.
func (p *pool) get() uint32 {
	p.inUse++
	p.inUseMax = max(p.inUseMax, p.inUse)
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	if p.made%slabChunks == 0 {
		p.slabs = append(p.slabs, make([]byte, slabChunks*chunkSize))
	}
	p.made++
	return uint32(p.made)
}

func (p *pool) put(c uint32) {
	p.inUse--
	p.free = append(p.free, c)
}

// bytes of chunk c.
func (p *pool) bytes(c uint32) []byte {
	i := c - 1
	at := i % slabChunks * chunkSize
	return p.slabs[i/slabChunks][at : at+chunkSize : at+chunkSize]
}
