package image

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// maxCandidates bounds the places where one library is looked for.
const maxCandidates = 512

// errBare is for names without a folder: dyld takes them from the folder that the process was started in.
var errBare = errors.New("a bare name: depends on where the process is started")

// resolveMachO finds a library as dyld does (dyld-1378 dyld/Loader.cpp): DYLD_LIBRARY_PATH of LC_DYLD_ENVIRONMENT first, then
// the name itself with @executable_path, @loader_path and @rpath put in, then the fallback folders. Environment variables of the
// process and restricted processes, for which dyld refuses some of this, are not known here.
func (w *walk) resolveMachO(n *node, name string) (found, error) {
	if over := w.environment("DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH"); len(over) > 0 {
		if at, err := w.first(inFolders(over, name)); err == nil {
			return at, nil
		}
	}
	if systemLibrary(name) {
		return found{}, nil
	}
	at, err := w.first(w.whereMachO(n, name))
	if err == nil && systemLibrary(at.path) {
		return found{}, nil // a link into the system
	}
	if !errors.Is(err, errNotFound) {
		return at, err
	}
	fallback := append(w.environment("DYLD_FALLBACK_LIBRARY_PATH", "DYLD_FALLBACK_FRAMEWORK_PATH"), "/usr/local/lib")
	if at, err := w.first(inFolders(fallback, name)); !errors.Is(err, errNotFound) {
		return at, err
	}
	if !strings.Contains(name, "/") {
		beside := path.Join(path.Dir(n.path), name)
		if _, err := w.first([]string{beside}); err == nil {
			return found{}, fmt.Errorf("%w; there is one at %s", errBare, beside)
		}
		return found{}, errBare
	}
	return found{}, err
}

// whereMachO lists where the library may be, in dyld's order.
func (w *walk) whereMachO(n *node, name string) []string {
	if rest, ok := strings.CutPrefix(name, "@rpath/"); ok {
		return w.inRPaths(n, rest)
	}
	at, ok := w.expandAt(n, name)
	if !ok || !path.IsAbs(at) {
		return nil
	}
	places := []string{at}
	if framework, _, ok := strings.Cut(path.Dir(n.path), ".framework/Versions/"); ok {
		// The image may have been opened by the link in the framework's own folder (Loader.cpp:1389).
		if at, ok := expand(name, "@loader_path", framework+".framework"); ok {
			places = append(places, at)
		}
	}
	return places
}

// inRPaths puts the LC_RPATHs of the image, then of each loader up to the executable, before rest.
func (w *walk) inRPaths(n *node, rest string) []string {
	var places []string
	for l := n; l != nil; l = l.loader {
		for _, rpath := range l.unit.rpaths {
			if dir, ok := w.expandAt(l, rpath); ok && path.IsAbs(dir) && len(places) < maxCandidates {
				places = append(places, path.Join(dir, rest))
			}
		}
	}
	return places
}

// expandAt puts folders in place of @executable_path and @loader_path as they mean for n. It is false for other @-names.
func (w *walk) expandAt(n *node, name string) (string, bool) {
	if at, ok := expand(name, "@executable_path", path.Dir(w.queue[0].path)); ok {
		return at, true
	}
	if at, ok := expand(name, "@loader_path", path.Dir(n.path)); ok {
		return at, true
	}
	return name, !strings.HasPrefix(name, "@")
}

// environment lists the folders that LC_DYLD_ENVIRONMENT of the executable gives for these variables. dyld takes them from
// nowhere else in files (DyldProcessConfig.cpp:2089).
func (w *walk) environment(variables ...string) []string {
	var dirs []string
	for _, e := range w.unit.environment {
		for _, v := range variables {
			list, ok := strings.CutPrefix(e, v+"=")
			if !ok {
				continue
			}
			for dir := range strings.SplitSeq(list, ":") {
				if at, ok := w.expandAt(w.queue[0], dir); ok && path.IsAbs(at) && len(dirs) < maxCandidates {
					dirs = append(dirs, at)
				}
			}
		}
	}
	return dirs
}

// inFolders puts the last part of name into each folder: the whole X.framework/… for frameworks, the file's name for others.
func inFolders(dirs []string, name string) []string {
	leaf := path.Base(name)
	if i := strings.LastIndex(name, ".framework/"); i >= 0 {
		leaf = name[strings.LastIndexByte(name[:i], '/')+1:]
	}
	places := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		places = append(places, path.Join(dir, leaf))
	}
	return places
}
