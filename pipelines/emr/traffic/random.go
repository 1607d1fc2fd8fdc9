package traffic

import "math"

// random is a stream of numbers: SplitMix64, whose state is one word, so that each purpose can have its own stream.
type random struct{ state uint64 }

// stream makes the generator for one purpose. Streams of different names are independent: adding incidents to a
// corridor does not change its demand.
func stream(seed uint64, names ...uint64) *random {
	r := &random{state: seed}
	for _, n := range names {
		r.state = r.next() ^ n*0x9e3779b97f4a7c15
	}
	r.next()
	return r
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// float is uniform in [0, 1).
func (r *random) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// between is uniform in [lo, hi).
func (r *random) between(lo, hi float64) float64 { return lo + float64(r.float()*(hi-lo)) }

// below is uniform in 0 … n-1. The bias of the remainder is far below anything that the data could show.
func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

// normal has mean 0 and variance 1: the sum of twelve uniform numbers, which needs no logarithm.
func (r *random) normal() float64 {
	var sum uint64
	for range 12 {
		sum += r.next() >> 12
	}
	return float64(sum)/(1<<52) - 6
}

// poisson draws a count with the given mean.
func (r *random) poisson(mean float64) int {
	if mean <= 0 {
		return 0
	}
	if mean > 30 {
		return max(0, int(math.Floor(mean+float64(math.Sqrt(mean)*r.normal())+0.5)))
	}
	limit, product, n := exp(-mean), r.float(), 0
	for product > limit {
		product *= r.float()
		n++
	}
	return n
}

// exp is e^x from additions and multiplications alone: math.Exp is assembly on some processors and differs there in
// the last bit.
func exp(x float64) float64 {
	halvings := 0
	for x > 0.125 || x < -0.125 {
		x /= 2
		halvings++
	}
	sum, term := 1.0, 1.0
	for i := 1; i <= 12; i++ {
		term = float64(term*x) / float64(i)
		sum += term
	}
	for range halvings {
		sum *= sum
	}
	return sum
}

// bump is a bell of height 1 around a centre.
func bump(x, centre, width float64) float64 {
	d := (x - centre) / width
	return exp(-float64(d*d) / 2)
}
