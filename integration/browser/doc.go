// Package browser tests the console in Chromium, with the broker, the vendor and the load of `statusworker dev`: every
// page and action, what the browser reports, the accessibility tree, and contrast. It takes screenshots:
//
//	go test ./integration/browser -artifacts -outputdir DIRECTORY   light and dark ones of each page
//	go test ./integration/browser -update                           those of docs/images
//
// Without Chromium the tests are skipped; with STATUSWORKER_REQUIRE_ENGINE=1 they fail.
package browser
