// kafka-go: codecs, a group that commits and resumes, offsets by time. Usage: segmentio BOOTSTRAP
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

func check(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func read(ctx context.Context, reader *kafka.Reader, want int, seen map[string]bool) {
	var messages []kafka.Message
	for len(messages) < want {
		message, err := reader.FetchMessage(ctx)
		check(err, fmt.Sprintf("fetch after %d of %d", len(messages), want))
		if seen[string(message.Value)] {
			log.Fatalf("%s came twice", message.Value)
		}
		seen[string(message.Value)] = true
		messages = append(messages, message)
	}
	check(reader.CommitMessages(ctx, messages...), "commit")
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(os.Args[1])}
	created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "kafka-go", NumPartitions: 3, ReplicationFactor: 1}}})
	check(err, "create topics")
	check(created.Errors["kafka-go"], "create topics")
	codecs := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for _, codec := range codecs {
		writer := &kafka.Writer{Addr: client.Addr, Topic: "kafka-go", Balancer: &kafka.Hash{}, RequiredAcks: kafka.RequireAll,
			Compression: codec, BatchTimeout: 10 * time.Millisecond}
		var messages []kafka.Message
		for i := range 200 {
			messages = append(messages, kafka.Message{Key: fmt.Appendf(nil, "k%d", i%16), Value: fmt.Appendf(nil, "%d-%d", codec, i),
				Headers: []kafka.Header{{Key: "h", Value: []byte("v")}}})
		}
		check(writer.WriteMessages(ctx, messages...), "write")
		check(writer.Close(), "close")
	}
	seen := map[string]bool{}
	for _, want := range []int{600, 400} {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{os.Args[1]}, GroupID: "kafka-go", Topic: "kafka-go",
			StartOffset: kafka.FirstOffset, MaxWait: 500 * time.Millisecond})
		read(ctx, reader, want, seen)
		check(reader.Close(), "close")
	}
	if len(seen) != 1000 {
		log.Fatalf("read %d values of 1000", len(seen))
	}
	conn, err := kafka.DialLeader(ctx, "tcp", os.Args[1], "kafka-go", 0)
	check(err, "dial")
	first, last, err := conn.ReadOffsets()
	check(err, "read offsets")
	at, err := conn.ReadOffset(time.Now().Add(-time.Hour))
	check(err, "read offset by time")
	if first != 0 || at != 0 || last <= 0 {
		log.Fatalf("offsets are %d, %d by time, %d", first, at, last)
	}
	check(conn.Close(), "close")
	fmt.Println("ok kafka-go")
}
