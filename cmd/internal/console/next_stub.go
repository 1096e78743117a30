package console

import "statusworker/cmd/internal/interaction"

func nextOf(interaction.Interaction) string { return "?" }
