package randomness

import "math"

// twoSidedNormal is the probability that a standard normal variable is at least |z| from 0.
func twoSidedNormal(z float64) float64 { return math.Erfc(math.Abs(z) / math.Sqrt2) }

// exactVariance is from where on binomial tails are those of a normal variable.
const exactVariance = 25

// binomialTail is P(X >= k) for X binomial with n trials of probability p: exact while the variance is below 25, then by the
// normal distribution with continuity correction.
func binomialTail(n, k int, p float64) float64 {
	if k <= 0 {
		return 1
	}
	if k > n {
		return 0
	}
	mean, variance := float64(n)*p, float64(n)*p*(1-p)
	if variance >= exactVariance {
		return math.Erfc((float64(k)-0.5-mean)/math.Sqrt(2*variance)) / 2
	}
	if float64(k) <= mean {
		return 1 - binomialSum(n, n-k+1, 1-p)
	}
	return binomialSum(n, k, p)
}

// logFactorial are the logarithms of the factorials that binomialSum needs: 8 MaxSample trials of p = 1/2 are far above its variance.
var logFactorial = func() (t [MaxSample + 1]float64) {
	for k := range t {
		t[k], _ = math.Lgamma(float64(k + 1))
	}
	return t
}()

// binomialSum adds up P(X = k), P(X = k+1), … for a k above the mean, where the terms fall.
func binomialSum(n, k int, p float64) float64 {
	term := math.Exp(logFactorial[n] - logFactorial[k] - logFactorial[n-k] + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	sum, odds := 0.0, p/(1-p)
	for ; k <= n && term > sum*1e-14; k++ {
		sum += term
		term *= float64(n-k) / float64(k+1) * odds
	}
	return min(sum, 1)
}

// twoSidedBinomial is twice the smaller tail, at most 1. That is the one on k's side of the mean: the median is next to the mean (Kaas and
// Buhrman, Statistica Neerlandica 34:13, 1980), so that the other tail is a half or more.
func twoSidedBinomial(n, k int, p float64) float64 {
	if float64(k) < float64(n)*p {
		k, p = n-k, 1-p
	}
	return min(1, 2*binomialTail(n, k, p))
}

// poissonTail is P(X >= k) for X Poisson with the given mean.
func poissonTail(k int, mean float64) float64 {
	if k <= 0 {
		return 1
	}
	return 1 - gammaQ(float64(k), mean)
}

// longestRunTail is P(longest run of successes >= k) in n trials of probability p, by the Poisson approximation of the number of
// such runs (Feller, vol. 1, XIII.7; Schilling, 1990).
func longestRunTail(n, k int, p float64) float64 {
	if k <= 0 {
		return 1
	}
	return -math.Expm1(-whole(p, k) * (float64(n-k)*(1-p) + 1))
}

// whole is p to the power k, k >= 0.
func whole(p float64, k int) float64 {
	power := 1.0
	for ; k > 0; k >>= 1 {
		if k&1 != 0 {
			power *= p
		}
		p *= p
	}
	return power
}

// equalRunTail is P(longest run of one byte value >= k) among n uniform bytes: a run of k is one of k-1 equal neighbours.
func equalRunTail(n, k int) float64 { return longestRunTail(n-1, k-1, 1.0/256) }

// chiSquareTail is P(X >= x) for X chi-square with the given degrees of freedom, a finite sum (Abramowitz and Stegun 26.4.4 and 26.4.5).
func chiSquareTail(x float64, freedom int) float64 {
	h := x / 2
	term, at, tail := 1.0, 0.0, 0.0
	if freedom%2 != 0 {
		root := math.Sqrt(h)
		term, at, tail = 2/math.SqrtPi*root, 0.5, math.Erfc(root)
	}
	sum := 0.0
	for steps := freedom / 2; steps > 0; steps-- {
		sum += term
		at++
		term *= h / at
	}
	return tail + math.Exp(-h)*sum
}

// pearsonTail is P(Z >= z) for a standardised variable of the given skewness > 0, by Pearson's type III distribution (a shifted gamma).
func pearsonTail(z, skewness float64) float64 {
	shape := 4 / (skewness * skewness)
	x := shape + 2*z/skewness
	if x <= 0 {
		return 1
	}
	return gammaQ(shape, x)
}

// gammaQ is the regularised upper incomplete gamma function Q(a, x) (Abramowitz and Stegun 6.5): by its power series below a+1,
// by its continued fraction (modified Lentz) above.
func gammaQ(a, x float64) float64 {
	if x <= 0 {
		return 1
	}
	lg, _ := math.Lgamma(a)
	front := math.Exp(a*math.Log(x) - x - lg)
	const iterations, precision = 1000, 1e-12
	if x < a+1 {
		term, sum := 1/a, 1/a
		for i := 1; i < iterations && term > sum*precision; i++ {
			term *= x / (a + float64(i))
			sum += term
		}
		return max(0, 1-front*sum)
	}
	b := x + 1 - a
	c, d := math.Inf(1), 1/b
	h := d
	for i := 1; i < iterations; i++ {
		an := -float64(i) * (float64(i) - a)
		b += 2
		d = 1 / (an*d + b)
		c = b + an/c
		h *= d * c
		if math.Abs(d*c-1) < precision {
			break
		}
	}
	return front * h
}
