// franz-go: codecs and headers, a cooperative group, admin calls, and consume-transform-produce in transactions.
// Usage: franz BOOTSTRAP
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(os.Args[1])}, opts...)...)
	check(err, "client")
	return cl
}

// read polls until it has seen want distinct values, and fails when one comes twice.
func read(ctx context.Context, cl *kgo.Client, want int) {
	seen := map[string]bool{}
	for len(seen) < want {
		fetches := cl.PollFetches(ctx)
		check(fetches.Err(), fmt.Sprintf("poll after %d of %d records", len(seen), want))
		fetches.EachRecord(func(r *kgo.Record) {
			if seen[string(r.Value)] {
				log.Fatalf("%s came twice", r.Value)
			}
			seen[string(r.Value)] = true
		})
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	admin := kadm.NewClient(client())
	defer admin.Close()
	_, err := admin.CreateTopics(ctx, 4, 1, nil, "franz-in", "franz-out")
	check(err, "create topics")

	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for name, codec := range codecs {
		producer := client(kgo.ProducerBatchCompression(codec))
		for i := range 200 {
			producer.Produce(ctx, &kgo.Record{Topic: "franz-in", Key: fmt.Appendf(nil, "k%d", i%16),
				Value: fmt.Appendf(nil, "%s-%d", name, i), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(name)}}},
				func(_ *kgo.Record, err error) { check(err, "produce") })
		}
		check(producer.Flush(ctx), "flush")
		producer.Close()
	}
	const all = 1000

	member := client(kgo.ConsumerGroup("franz"), kgo.ConsumeTopics("franz-in"), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	read(ctx, member, all)
	check(member.CommitUncommittedOffsets(ctx), "commit")
	lags, err := admin.Lag(ctx, "franz")
	check(err, "lag")
	if lag := lags["franz"].Lag.Total(); lag != 0 {
		log.Fatalf("lag is %d after everything was committed", lag)
	}
	member.Close()

	transform(ctx, all)
	out := client(kgo.ConsumeTopics("franz-out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	read(ctx, out, all)
	out.Close()
	settled(ctx, admin)
	check(errors.Join(must(admin.DeleteTopics(ctx, "franz-in", "franz-out"))), "delete topics")
	fmt.Println("ok franz-go")
}

// settled waits until the markers of the last transaction are written.
func settled(ctx context.Context, admin *kadm.Client) {
	for {
		described, err := admin.DescribeTransactions(ctx, "franz-transform")
		check(err, "describe transactions")
		switch state := described["franz-transform"].State; state {
		case "CompleteCommit", "CompleteAbort":
			return
		case "PrepareCommit", "PrepareAbort":
			time.Sleep(50 * time.Millisecond)
		default:
			log.Fatalf("the transaction's state is %s", state)
		}
	}
}

func must[T interface{ Error() error }](answer T, err error) error {
	if err != nil {
		return err
	}
	return answer.Error()
}

// transform copies franz-in to franz-out in transactions, and aborts every third one on purpose.
func transform(ctx context.Context, want int) {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(os.Args[1]), kgo.TransactionalID("franz-transform"),
		kgo.ConsumerGroup("franz-transform"), kgo.ConsumeTopics("franz-in"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MaxConcurrentFetches(1), kgo.FetchMaxPartitionBytes(4096),
		kgo.RequireStableFetchOffsets())
	check(err, "session")
	defer session.Close()
	done := 0
	for round := 1; done < want; round++ {
		fetches := session.PollFetches(ctx)
		check(fetches.Err(), "poll in a transaction")
		check(session.Begin(), "begin")
		copied := 0
		fetches.EachRecord(func(r *kgo.Record) {
			copied++
			session.Produce(ctx, &kgo.Record{Topic: "franz-out", Key: r.Key, Value: r.Value}, func(_ *kgo.Record, err error) {
				if err != nil && !errors.Is(err, kgo.ErrAborting) && !errors.Is(err, kerr.TransactionAbortable) {
					check(err, "produce in a transaction")
				}
			})
		})
		committed, err := session.End(ctx, kgo.TransactionEndTry(round%3 != 0))
		check(err, "end")
		if committed {
			done += copied
		}
	}
}
