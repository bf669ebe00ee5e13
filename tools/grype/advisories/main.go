// Command grype-advisories turns an organization's own advisories (YAML files) into a vulnerability database that
// grype reads: the same files always give the same records.
//
//	grype-advisories --in DIR --out DIR
//
// The output folder is what GRYPE_DB_CACHE_DIR names. On success one JSON document on standard output tells how many
// advisories there are and where the database is; on bad advisories it lists every problem, and the exit code is 1.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

type report struct {
	Advisories int       `json:"advisories"`
	Database   string    `json:"database,omitempty"`
	Problems   []Problem `json:"problems,omitempty"`
}

func main() {
	in := flag.String("in", "", "folder of advisories (*.yaml, *.yml)")
	out := flag.String("out", "", "folder to make, for GRYPE_DB_CACHE_DIR")
	flag.Parse()
	if *in == "" || *out == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: grype-advisories --in DIR --out DIR")
		os.Exit(2)
	}
	result, err := convert(*in, *out)
	if err != nil {
		fmt.Fprintf(os.Stderr, "grype-advisories: %v\n", err)
		os.Exit(1)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(result); err != nil {
		fmt.Fprintf(os.Stderr, "grype-advisories: %v\n", err)
		os.Exit(1)
	}
	if len(result.Problems) == 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %d problem(s)\n", *in, len(result.Problems))
	for _, problem := range result.Problems {
		fmt.Fprintf(os.Stderr, "  %s\n", problem)
	}
	os.Exit(1)
}

func convert(in, out string) (report, error) {
	advisories, problems, err := readAdvisories(in)
	if err != nil {
		return report{}, err
	}
	if len(problems) > 0 {
		return report{Problems: problems}, nil
	}
	path, err := writeDatabase(advisories, out)
	return report{Advisories: len(advisories), Database: path}, err
}
