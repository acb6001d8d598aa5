package fleet

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/packs"
)

// Layer is an ATT&CK Navigator layer, format 4.5.
type Layer struct {
	Name        string            `json:"name"`
	Versions    map[string]string `json:"versions"`
	Domain      string            `json:"domain"`
	Description string            `json:"description"`
	Filters     map[string]any    `json:"filters"`
	Techniques  []Technique       `json:"techniques"`
	Gradient    Gradient          `json:"gradient"`
	Legend      []LegendItem      `json:"legendItems"`
}

// Technique is one technique's cell.
type Technique struct {
	ID                string `json:"techniqueID"`
	Score             int    `json:"score"`
	Comment           string `json:"comment"`
	Enabled           bool   `json:"enabled"`
	ShowSubtechniques bool   `json:"showSubtechniques"`
}

// Gradient colours scores.
type Gradient struct {
	Colors   []string `json:"colors"`
	MinValue int      `json:"minValue"`
	MaxValue int      `json:"maxValue"`
}

// LegendItem explains a colour.
type LegendItem struct {
	Label string `json:"label"`
	Color string `json:"color"`
}

// scores say how much a query of a kind sees of a technique.
var scores = map[string]int{packs.Finding: 100, packs.Figures: 60, packs.Inventory: 40, packs.Response: 30, packs.Evidence: 0}

// impersonation is T1001.003, Protocol or Service Impersonation: the detection's verdict tls_mimic, though its queries are filed under T1573.001.
var impersonation = Technique{ID: "T1001.003", Score: 100, Enabled: true,
	Comment: "an0402/detection: verdict tls_mimic. Only TLS, DTLS and QUIC that are not; other protocols in disguise are random or go unseen."}

var techniqueID = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

// NavigatorLayer shows what the packs' queries see, by their headers.
func NavigatorLayer(dir fs.FS) (Layer, error) {
	layer := Layer{
		Name:        "Cipherlens",
		Versions:    map[string]string{"attack": "18", "navigator": "5.1.0", "layer": "4.5"},
		Domain:      "enterprise-attack",
		Description: "AN0402 and AN0401 (detection strategy DET0143) by Cipherlens' packs. Genuine TLS is not seen, whoever speaks it.",
		Filters:     map[string]any{"platforms": []string{"macOS", "Linux"}},
		Gradient:    Gradient{[]string{"#ffffff", "#f6b26b", "#38761d"}, 0, 100},
		Legend:      []LegendItem{{"found by a scheduled detection", "#38761d"}, {"figures, inventory or response", "#f6b26b"}},
	}
	names, err := packs.Names(dir)
	if err != nil {
		return layer, err
	}
	best, by := map[string]int{}, map[string][]string{}
	for _, name := range names {
		queries, err := packs.Queries(dir, name)
		if err != nil {
			return layer, err
		}
		for _, q := range queries {
			for _, id := range strings.Split(q.Attack, ", ") {
				if techniqueID.MatchString(id) && scores[q.Kind] > 0 {
					best[id] = max(best[id], scores[q.Kind])
					by[id] = append(by[id], name+"/"+q.Name)
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(best)) {
		layer.Techniques = append(layer.Techniques, Technique{ID: id, Score: best[id], Enabled: true, Comment: strings.Join(by[id], ", ")})
	}
	if best[impersonation.ID] > 0 {
		return layer, fmt.Errorf("fleet: %s is in a query's header and here", impersonation.ID)
	}
	layer.Techniques = append(layer.Techniques, impersonation)
	return layer, nil
}
