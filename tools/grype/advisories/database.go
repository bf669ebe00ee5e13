package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/name"
	"github.com/spf13/afero"
	"gorm.io/gorm"
)

const providerID = "advisories"

// writeDatabase makes the folder that GRYPE_DB_CACHE_DIR names; it appears complete or not at all. Returns the path of
// the database file.
func writeDatabase(advisories []advisory, out string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(out), filepath.Base(out)+".")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil {
		return "", err
	}
	folder := filepath.Join(work, strconv.Itoa(v6.ModelVersion))
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", err
	}
	if err := fill(folder, advisories); err != nil {
		return "", fmt.Errorf("writing the database: %w", err)
	}
	// What `grype db import` does after unpacking: the indexes, then the checksum that grype verifies at every start.
	if err := v6.Hydrater()(folder); err != nil {
		return "", fmt.Errorf("indexing the database: %w", err)
	}
	if _, err := v6.WriteImportMetadata(afero.NewOsFs(), folder, providerID); err != nil {
		return "", fmt.Errorf("writing the checksum: %w", err)
	}
	if err := os.RemoveAll(out); err != nil {
		return "", err
	}
	if err := os.Rename(work, out); err != nil {
		return "", err
	}
	return filepath.Join(out, strconv.Itoa(v6.ModelVersion), v6.VulnerabilityDBFileName), nil
}

func fill(folder string, advisories []advisory) (err error) {
	writer, err := v6.NewWriter(v6.Config{DBDirPath: folder})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := writer.Close(); err == nil {
			err = closeErr
		}
	}()
	built := newest(advisories)
	if err := writer.SetDBMetadata(); err != nil {
		return err
	}
	if err := setBuilt(writer, built); err != nil {
		return err
	}
	provider := &v6.Provider{ID: providerID, Version: "1", Processor: "grype-advisories", DateCaptured: &built}
	for i := range advisories {
		vulnerability := advisories[i].vulnerability(provider)
		if err := writer.AddVulnerabilities(vulnerability); err != nil {
			return fmt.Errorf("%s: %w", advisories[i].id, err)
		}
		if err := writer.AddAffectedPackages(advisories[i].affectedPackage(vulnerability)); err != nil {
			return fmt.Errorf("%s: %w", advisories[i].id, err)
		}
	}
	return nil
}

// setBuilt replaces the time of writing by the time of the data: the same advisories are the same database, and its age
// is theirs.
func setBuilt(writer v6.ReadWriter, built time.Time) error {
	store, ok := writer.(interface{ GetDB() *gorm.DB })
	if !ok {
		return fmt.Errorf("%T gives no access to its database", writer)
	}
	return store.GetDB().Model(&v6.DBMetadata{}).Where("true").Update("build_timestamp", built).Error
}

// newest is the latest date that an advisory names.
func newest(advisories []advisory) time.Time {
	latest := time.Unix(0, 0).UTC()
	for _, advisory := range advisories {
		if advisory.date.After(latest) {
			latest = advisory.date
		}
	}
	return latest
}

func (a advisory) vulnerability(provider *v6.Provider) *v6.VulnerabilityHandle {
	references := make([]v6.Reference, 0, len(a.urls))
	for _, url := range a.urls {
		references = append(references, v6.Reference{URL: url})
	}
	handle := &v6.VulnerabilityHandle{
		Name:       a.id,
		Status:     v6.VulnerabilityActive,
		ProviderID: provider.ID,
		Provider:   provider,
		BlobValue: &v6.VulnerabilityBlob{
			ID:          a.id,
			Description: a.description,
			References:  references,
			Severities:  []v6.Severity{{Scheme: v6.SeveritySchemeCHMLN, Value: a.severity, Rank: 1}},
		},
	}
	if !a.date.IsZero() {
		handle.PublishedDate = &a.date
	}
	return handle
}

func (a advisory) affectedPackage(vulnerability *v6.VulnerabilityHandle) *v6.AffectedPackageHandle {
	fix := &v6.Fix{State: v6.NotFixedStatus}
	if a.fixed != "" {
		fix = &v6.Fix{State: v6.FixedStatus, Version: a.fixed}
	}
	affected := v6.Version{Type: a.ecosystem.versionType, Constraint: a.affected}
	return &v6.AffectedPackageHandle{
		Vulnerability:   vulnerability,
		OperatingSystem: a.ecosystem.system,
		Package: &v6.Package{
			Ecosystem: string(a.ecosystem.packageType),
			Name:      name.Normalize(a.pkg, a.ecosystem.packageType),
		},
		BlobValue: &v6.PackageBlob{Ranges: []v6.Range{{Version: affected, Fix: fix}}},
	}
}
