package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/anchore/grype/grype/version"
	"go.yaml.in/yaml/v3"
)

// advisory is one entry: a package of one ecosystem, the versions affected and the one that mends it.
type advisory struct {
	id          string
	severity    string
	ecosystem   ecosystem
	pkg         string
	affected    string
	fixed       string
	description string
	urls        []string
	date        time.Time
}

// Problem is one thing that is wrong in one file.
type Problem struct {
	File     string `json:"file"`
	Field    string `json:"field"`
	Found    string `json:"found"`
	Expected string `json:"expected"`
}

func (p Problem) String() string {
	return fmt.Sprintf("%s: %s: found %s; expected %s", p.File, p.Field, p.Found, p.Expected)
}

var (
	severities = []string{"critical", "high", "medium", "low", "negligible"}
	idPattern  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._:-]*$`)
)

// readAdvisories reads every *.yaml and *.yml of a folder in the order of their names; a file may hold several
// documents, each one advisory. All problems of all files come back together.
func readAdvisories(folder string) (advisories []advisory, problems []Problem, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]string{}
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if entry.IsDir() || (extension != ".yaml" && extension != ".yml") {
			continue
		}
		documents, fileProblems, err := readFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, nil, err
		}
		problems = append(problems, fileProblems...)
		for _, reader := range documents {
			found := reader.advisory()
			key := strings.ToLower(found.id) + " " + reader.text("ecosystem", "") + " " + found.pkg
			if other, taken := seen[key]; taken && found.id != "" {
				reader.problem("id", found.id, "not the same id, ecosystem and package as in "+other)
			}
			seen[key] = reader.file
			problems = append(problems, reader.problems...)
			advisories = append(advisories, found)
		}
	}
	if len(advisories) == 0 && len(problems) == 0 {
		problems = append(problems, Problem{folder, "(folder)", "no advisory", "at least one *.yaml file"})
	}
	return advisories, problems, nil
}

func readFile(path string) (documents []*reader, problems []Problem, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	for number := 1; ; number++ {
		var fields map[string]any
		err := decoder.Decode(&fields)
		if errors.Is(err, io.EOF) {
			break
		}
		name := filepath.Base(path)
		if number > 1 {
			name = fmt.Sprintf("%s (document %d)", name, number)
		}
		if err != nil {
			// Behind a syntax error there is nothing to go on with.
			found := strings.Join(strings.Fields(err.Error()), " ")
			return documents, append(problems, Problem{name, "(document)", found, "a YAML mapping of fields"}), nil
		}
		documents = append(documents, &reader{file: name, fields: fields})
	}
	return documents, problems, nil
}

// reader takes the fields out of one document and collects what is wrong with them.
type reader struct {
	file     string
	fields   map[string]any
	taken    []string
	problems []Problem
}

func (r *reader) problem(field, found, expected string) {
	r.problems = append(r.problems, Problem{r.file, field, found, expected})
}

func (r *reader) advisory() advisory {
	result := advisory{
		id:          r.text("id", "a name like ORG-2026-0001"),
		severity:    r.text("severity", "one of "+strings.Join(severities, ", ")),
		pkg:         r.text("package", "the package's name in its ecosystem"),
		affected:    r.text("affected", `a range like "< 1.2.3-1" or ">= 1.0, < 1.2.3"`),
		fixed:       r.text("fixed", ""),
		description: r.text("description", ""),
		urls:        r.list("urls"),
		date:        r.date("date"),
	}
	if result.id != "" && !idPattern.MatchString(result.id) {
		r.problem("id", quote(result.id), "letters, digits and . _ : - behind a letter")
	}
	if result.severity != "" && !slices.Contains(severities, result.severity) {
		r.problem("severity", quote(result.severity), "one of "+strings.Join(severities, ", "))
	}
	if text := r.text("ecosystem", knownEcosystems()); text != "" {
		var known bool
		if result.ecosystem, known = parseEcosystem(text); known {
			r.checkVersions(result)
		} else {
			r.problem("ecosystem", quote(text), knownEcosystems())
		}
	}
	for name := range r.fields {
		if !slices.Contains(r.taken, name) {
			r.problem(name, "an unknown field", "one of "+strings.Join(r.taken, ", "))
		}
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return strings.Compare(a.Field, b.Field) })
	return result
}

func (r *reader) checkVersions(found advisory) {
	format := found.ecosystem.versions
	constraint, err := version.GetConstraint(found.affected, format)
	if found.affected != "" && err != nil {
		r.problem("affected", quote(found.affected), fmt.Sprintf("a range of %s versions (%v)", format, err))
		return
	}
	if found.fixed == "" {
		return
	}
	fixed := version.New(found.fixed, format)
	if err := fixed.Validate(); err != nil {
		r.problem("fixed", quote(found.fixed), fmt.Sprintf("a %s version (%v)", format, err))
		return
	}
	if found.affected == "" {
		return
	}
	if affected, err := constraint.Satisfied(fixed); err == nil && affected {
		r.problem("fixed", quote(found.fixed), fmt.Sprintf("a version outside of the affected range %q", found.affected))
	}
}

// text returns a field that must be a string; with an expectation it must also be there.
func (r *reader) text(field, expected string) string {
	if !slices.Contains(r.taken, field) {
		r.taken = append(r.taken, field)
	}
	value, there := r.fields[field]
	text, isText := value.(string)
	text = strings.TrimSpace(text)
	switch {
	case there && !isText:
		r.problem(field, fmt.Sprintf("%v (%T)", value, value), "a text in quotes")
	case text == "" && expected != "":
		r.problem(field, "nothing", expected)
	}
	return text
}

func (r *reader) list(field string) []string {
	r.taken = append(r.taken, field)
	value, there := r.fields[field]
	if !there {
		return nil
	}
	items, isList := value.([]any)
	if !isList {
		r.problem(field, fmt.Sprintf("%v (%T)", value, value), "a list of texts")
		return nil
	}
	texts := make([]string, 0, len(items))
	for i, item := range items {
		text, isText := item.(string)
		if !isText {
			r.problem(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%v (%T)", item, item), "a text")
		}
		texts = append(texts, text)
	}
	return texts
}

// date reads 2026-01-31, which YAML knows as a time by itself.
func (r *reader) date(field string) time.Time {
	r.taken = append(r.taken, field)
	value, there := r.fields[field]
	if !there {
		return time.Time{}
	}
	if date, isTime := value.(time.Time); isTime {
		return date.UTC()
	}
	date, err := time.Parse(time.DateOnly, fmt.Sprint(value))
	if err != nil {
		r.problem(field, fmt.Sprintf("%v", value), "a date like 2026-01-31")
	}
	return date
}

func quote(text string) string {
	return fmt.Sprintf("%q", text)
}
