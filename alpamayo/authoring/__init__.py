"""Looking at scenarios: storyboards, contact sheets, coverage, stress search."""
