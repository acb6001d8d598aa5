package macho

import (
	debugmacho "debug/macho"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	gomacho "github.com/blacktop/go-macho"
	"github.com/stretchr/testify/require"
)

// BenchmarkRead reads files the way a scan of jobs does, beside the two libraries there are, and reports files a second. The
// files are the samples when they are there (testdata/samples/fetch.sh), the fixtures otherwise.
func BenchmarkRead(b *testing.B) {
	paths := benchPaths(b)
	readers := []struct {
		name string
		read func(path string) error
	}{
		{"ours", readOurs},
		{"debugmacho", readDebug},
		{"gomacho", readGoMacho},
	}
	for _, r := range readers {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			failed := 0
			for b.Loop() {
				failed = 0
				for _, p := range paths {
					if r.read(p) != nil {
						failed++
					}
				}
			}
			b.ReportMetric(float64(len(paths))*float64(b.N)/b.Elapsed().Seconds(), "files/s")
			b.ReportMetric(float64(failed), "failed")
		})
	}
}

// benchPaths gives the files, all of them in the page cache.
func benchPaths(b *testing.B) []string {
	var paths []string
	for _, dir := range []string{samplesFolder(), "testdata/images"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && d.Name()[0] != '.' {
				paths = append(paths, path)
			}
			return nil
		})
		require.NoError(b, err)
		if len(paths) > 0 {
			break
		}
	}
	for _, p := range paths {
		_, err := os.ReadFile(p)
		require.NoError(b, err)
	}
	return paths
}

func readOurs(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := Read(f, info.Size())
	if err != nil {
		return err
	}
	for _, s := range m.Slices {
		if s.Signature != nil {
			s.Signature.BestDirectory().CDHash()
		}
	}
	return nil
}

func readDebug(path string) error {
	var slices []*debugmacho.File
	if f, err := debugmacho.OpenFat(path); err == nil {
		defer f.Close()
		for _, a := range f.Arches {
			slices = append(slices, a.File)
		}
	} else {
		f, err := debugmacho.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		slices = append(slices, f)
	}
	for _, s := range slices {
		if _, err := s.ImportedLibraries(); err != nil {
			return err
		}
		if _, err := s.ImportedSymbols(); err != nil {
			return err
		}
	}
	return nil
}

func readGoMacho(path string) error {
	var slices []*gomacho.File
	if f, err := gomacho.OpenFat(path); err == nil {
		defer f.Close()
		for _, a := range f.Arches {
			slices = append(slices, a.File)
		}
	} else {
		f, err := gomacho.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		slices = append(slices, f)
	}
	for _, s := range slices {
		s.ImportedLibraries()
		_, _ = s.ImportedSymbolNames()
		_, _ = s.GetBindInfo()
		if s.HasDyldChainedFixups() {
			_, _ = s.DyldChainedFixups()
		}
		s.CodeSignature()
	}
	return nil
}
