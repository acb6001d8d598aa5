//go:build !linux

package main

import "errors"

// The live test in a network namespace is Linux's; macOS has its own, as root, in the workflow.
var errLinux = errors.New("network namespaces are Linux's")

func implant() error           { return errLinux }
func inNamespace(string) error { return errLinux }
func restarted(string) error   { return errLinux }
