// Command gohello is a small Go program for macOS, a fixture.
package main

import "os"

func main() { os.Stdout.WriteString("hello\n") }
