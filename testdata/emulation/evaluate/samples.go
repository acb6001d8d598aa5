package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/cipherlens/cipherlens/internal/randomness"
)

var (
	lengths         = []int{16, 32, 64, 128, 256, 512, 1024, 4096}
	plainKinds      = []string{"text", "macho", "protobuf", "base64", "lz4"}
	compressedKinds = []string{"zlib", "gzip", "zstd", "jpeg"}
)

// measureSamples gives the points against kinds that are not compressed, and against those that are.
func measureSamples(dir string, seed uint64, draws int) (plain, compressed []point, err error) {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	dice := rand.New(random)
	for _, n := range lengths {
		uniform := make([]float64, draws)
		b := make([]byte, n)
		for i := range uniform {
			if _, err := random.Read(b); err != nil {
				return nil, nil, err
			}
			uniform[i] = randomness.Judge(b).Likelihood
		}
		for _, set := range []struct {
			kinds []string
			to    *[]point
		}{{plainKinds, &plain}, {compressedKinds, &compressed}} {
			negatives, err := likelihoods(dir, set.kinds, n, draws, dice)
			if err != nil {
				return nil, nil, err
			}
			for _, t := range thresholds() {
				*set.to = append(*set.to, point{n, t, above(uniform, t), above(negatives, t), len(uniform), len(negatives)})
			}
		}
	}
	return plain, compressed, nil
}

// likelihoods judges samples from random places in files of each kind.
func likelihoods(dir string, kinds []string, n, draws int, dice *rand.Rand) ([]float64, error) {
	var all []float64
	for _, kind := range kinds {
		data, err := os.ReadFile(filepath.Join(dir, kind))
		if err != nil {
			return nil, err
		}
		for range draws {
			at := dice.IntN(len(data) - n + 1)
			all = append(all, randomness.Judge(data[at:at+n]).Likelihood)
		}
	}
	return all, nil
}

// above is the share of likelihoods that a threshold calls random.
func above(likelihoods []float64, threshold float64) float64 {
	n := 0
	for _, l := range likelihoods {
		if (randomness.Stats{N: randomness.MinSample, Likelihood: l}).Random(threshold) {
			n++
		}
	}
	return float64(n) / float64(len(likelihoods))
}
