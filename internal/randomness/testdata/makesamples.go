// Command makesamples writes a sample of one kind to standard output.
package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
)

func main() {
	var err error
	switch os.Args[1] {
	case "zlib":
		w := zlib.NewWriter(os.Stdout)
		if _, err = io.Copy(w, os.Stdin); err == nil {
			err = w.Close()
		}
	case "jpeg":
		err = writeJPEG(os.Args[2])
	case "protobuf":
		err = writeProfile()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// writeJPEG scales a photograph up, so that it fills more than a few KiB.
func writeJPEG(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	small, err := jpeg.Decode(f)
	if err != nil {
		return err
	}
	const scale = 5
	b := small.Bounds()
	large := image.NewRGBA(image.Rect(0, 0, scale*b.Dx(), scale*b.Dy()))
	for x := range large.Bounds().Dx() {
		for y := range large.Bounds().Dy() {
			r, g, bl, _ := small.At(x/scale, y/scale).RGBA()
			large.Set(x, y, color.RGBA{uint8(r>>8) + uint8(x*y%7), uint8(g>>8) + uint8(x%5), uint8(bl >> 8), 255})
		}
	}
	return jpeg.Encode(os.Stdout, large, &jpeg.Options{Quality: 85})
}

// writeProfile writes the protocol buffers of this program's own profiles: real messages of a real program.
func writeProfile() error {
	runtime.MemProfileRate = 1
	var all [][]byte
	for i := range 20000 {
		all = append(all, []byte(strings.Repeat("x", i%900)))
	}
	runtime.KeepAlive(all)
	for range 12 {
		for _, name := range []string{"heap", "allocs", "goroutine", "threadcreate"} {
			var b bytes.Buffer
			if err := pprof.Lookup(name).WriteTo(&b, 0); err != nil {
				return err
			}
			r, err := gzip.NewReader(&b)
			if err != nil {
				return err
			}
			if _, err := io.Copy(os.Stdout, r); err != nil {
				return err
			}
		}
	}
	return nil
}
