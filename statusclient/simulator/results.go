package simulator

// The results of any processed interaction, in the documented shapes.

type transcriptPart struct {
	Phrases        []string        `json:"phrases"`
	PhraseSegments []phraseSegment `json:"phraseSegments"`
}

type phraseSegment struct {
	StartTimeOffset int     `json:"startTimeOffset"`
	EndTimeOffset   int     `json:"endTimeOffset"`
	PhraseIndex     int     `json:"phraseIndex"`
	Score           float64 `json:"score"`
}

var transcript = func() map[string]transcriptPart {
	part := transcriptPart{
		Phrases:        []string{"good", "morning"},
		PhraseSegments: []phraseSegment{{400, 700, 0, 1}, {700, 1150, 1, 0.98}},
	}
	return map[string]transcriptPart{
		"allParticipants": part,
		"participantOne":  part,
		"participantTwo":  {Phrases: []string{}, PhraseSegments: []phraseSegment{}},
	}
}()

type sentenceSegment struct {
	Participant     string  `json:"participant"`
	StartTimeOffset int     `json:"startTimeOffset"`
	EndTimeOffset   int     `json:"endTimeOffset"`
	Phrase          string  `json:"phrase"`
	Score           float64 `json:"score"`
}

type redactionSegment struct {
	StartTimeOffset int     `json:"startTimeOffset"`
	EndTimeOffset   int     `json:"endTimeOffset"`
	Result          string  `json:"result"`
	Score           float64 `json:"score"`
}

var punctuated = struct {
	SentenceSegments  []sentenceSegment  `json:"sentenceSegments"`
	RedactionSegments []redactionSegment `json:"redactionSegments"`
}{
	[]sentenceSegment{
		{"participantOne", 400, 1150, "Good morning.", 0.99},
		{"participantTwo", 1500, 3900, "My card does not work any more.", 0.96},
	},
	[]redactionSegment{{5200, 6100, "CVV", 0}},
}

type enlightenModel struct {
	Name           string  `json:"name"`
	Score          float64 `json:"score"`
	MinScore       float64 `json:"minScore"`
	MinScoreOffset int     `json:"minScoreOffset"`
	MaxScore       float64 `json:"maxScore"`
	MaxScoreOffset int     `json:"maxScoreOffset"`
	Quartile1      float64 `json:"quartile1"`
	Quartile2      float64 `json:"quartile2"`
	Quartile3      float64 `json:"quartile3"`
	Quartile4      float64 `json:"quartile4"`
}

type enlightenBundle struct {
	Name   string           `json:"name"`
	Models []enlightenModel `json:"models"`
}

type voiceActivitySegment struct {
	StartTimeOffset int    `json:"startTimeOffset"`
	EndTimeOffset   int    `json:"endTimeOffset"`
	Result          string `json:"result"`
}

type aiPart struct {
	EnlightenBundles      []enlightenBundle      `json:"enlightenBundles"`
	VoiceActivitySegments []voiceActivitySegment `json:"voiceActivitySegments"`
}

var cxAI = map[string]aiPart{"allParticipants": {
	EnlightenBundles: []enlightenBundle{{"Customer Satisfaction", []enlightenModel{
		{"activeListening", 4.5, -1.25, 400, 3.75, 3900, 1.5, 0.5, 2.25, 4},
		{"sentiment", -0.5, -2, 1500, 1, 400, 1, -0.5, -1, 0.25},
	}}},
	VoiceActivitySegments: []voiceActivitySegment{{0, 4000, "voice"}, {4000, 5200, "silence"}},
}}
