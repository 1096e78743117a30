package schema_test

import (
	"testing"

	"statusworker/schema"
)

const typicalMessage = `{"interactionIdentifier":"bd5c92f3-c228-44a6-91bf-b52672569878","type":"audio",` +
	`"languageTag":"en-us","vertical":"default","model":"cx","includeAiResults":true,` +
	`"downloadUri":"https://recordings.example.com/2022/06/17/call-000123.wav?sig=abcdef",` +
	`"originalFilename":"call-000123.wav","externalIdentifier":"crm/9981","agent":{"id":17,"team":"north"},` +
	`"tags":["sales","inbound","\u00fcber"],"queue":"q-7"}`

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(typicalMessage)))
	message := []byte(typicalMessage)
	for b.Loop() {
		if _, err := schema.Decode(message); err != nil {
			b.Fatal(err)
		}
	}
}
