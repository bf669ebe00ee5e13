package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/syft/syft/pkg"
)

// ecosystem is where a package comes from: a release of a distribution, or a language's registry.
type ecosystem struct {
	packageType pkg.Type
	versions    version.Format
	// versionType is what the database calls the versions.
	versionType string
	system      *v6.OperatingSystem
}

// distribution is an ecosystem for each of its releases.
type distribution struct {
	ecosystem
	// grypeName is what grype calls it, where that is not the ID in os-release.
	grypeName string
	// codenames of the releases; empty where the distribution has none. An image names its release by number and
	// codename, and grype compares both: with the number alone an advisory would silently match nothing.
	codenames map[string]string
	release   *regexp.Regexp
}

var distributions = map[string]distribution{
	"alpine": {
		ecosystem: ecosystem{packageType: pkg.ApkPkg, versions: version.ApkFormat, versionType: "apk"},
		release:   regexp.MustCompile(`^\d+\.\d+$`),
	},
	"debian": {
		ecosystem: ecosystem{packageType: pkg.DebPkg, versions: version.DebFormat, versionType: "dpkg"},
		codenames: map[string]string{"11": "bullseye", "12": "bookworm", "13": "trixie"},
	},
	"rhel": {
		grypeName: "redhat",
		ecosystem: ecosystem{packageType: pkg.RpmPkg, versions: version.RpmFormat, versionType: "rpm"},
		release:   regexp.MustCompile(`^\d+$`),
	},
	"ubuntu": {
		ecosystem: ecosystem{packageType: pkg.DebPkg, versions: version.DebFormat, versionType: "dpkg"},
		codenames: map[string]string{"20.04": "focal", "22.04": "jammy", "24.04": "noble", "26.04": "resolute"},
	},
}

var languages = map[string]ecosystem{
	"cargo": {packageType: pkg.RustPkg, versions: version.SemanticFormat, versionType: "semver"},
	"gem":   {packageType: pkg.GemPkg, versions: version.GemFormat, versionType: "gem"},
	"go":    {packageType: pkg.GoModulePkg, versions: version.GolangFormat, versionType: "go"},
	"maven": {packageType: pkg.JavaPkg, versions: version.MavenFormat, versionType: "maven"},
	"npm":   {packageType: pkg.NpmPkg, versions: version.SemanticFormat, versionType: "semver"},
	"nuget": {packageType: pkg.DotnetPkg, versions: version.SemanticFormat, versionType: "semver"},
	"pypi":  {packageType: pkg.PythonPkg, versions: version.PythonFormat, versionType: "python"},
}

// parseEcosystem reads "debian:12" or "npm"; ok is false for anything it does not know.
func parseEcosystem(text string) (result ecosystem, ok bool) {
	name, release, isDistribution := strings.Cut(text, ":")
	if !isDistribution {
		result, ok = languages[name]
		return result, ok
	}
	known, ok := distributions[name]
	codename, named := known.codenames[release]
	if !ok || (!named && (known.release == nil || !known.release.MatchString(release))) {
		return ecosystem{}, false
	}
	major, minor, _ := strings.Cut(release, ".")
	result = known.ecosystem
	result.system = &v6.OperatingSystem{
		Name: cmp.Or(known.grypeName, name), ReleaseID: name, MajorVersion: major, MinorVersion: minor, Codename: codename,
	}
	return result, true
}

func knownEcosystems() string {
	names := slices.Collect(maps.Keys(languages))
	for name, known := range distributions {
		for release := range known.codenames {
			names = append(names, name+":"+release)
		}
	}
	names = append(names, "alpine:X.Y", "rhel:X")
	slices.Sort(names)
	return fmt.Sprintf("one of %s", strings.Join(names, ", "))
}
