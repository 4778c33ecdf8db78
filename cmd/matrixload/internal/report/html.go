package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"beffroi/cmd/matrixload/internal/measure"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"group": Group, "rate": Rate, "millis": Millis, "title": Title, "asked": Asked, "happened": Happened, "used": Used,
	"charts": charts, "oneLine": oneLine,
	"width": func() float64 { return width }, "height": func() float64 { return height },
	"left": func() float64 { return left }, "right": func() float64 { return width - right },
	"minus": func(a, b float64) float64 { return a - b },
}).Parse(pageText))

// HTML writes results as one page that needs nothing else: no script, no font
// and no picture from anywhere.
func HTML(w io.Writer, results []*measure.Result) error {
	if err := page.Execute(w, results); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
