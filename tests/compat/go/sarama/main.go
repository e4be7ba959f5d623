// sarama: codecs, a consumer group, idempotent and transactional producing, admin calls. Usage: sarama BOOTSTRAP
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func check(err error, what string) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

type reader struct {
	mu   sync.Mutex
	seen map[string]int
	want int
	stop context.CancelFunc
}

func (*reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			r.mu.Lock()
			r.seen[string(message.Value)]++
			if len(r.seen) >= r.want {
				session.Commit()
				r.stop()
			}
			r.mu.Unlock()
		case <-session.Context().Done():
			return nil
		}
	}
}

func read(topic, group string, want int, c *sarama.Config) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	consumer, err := sarama.NewConsumerGroup([]string{os.Args[1]}, group, c)
	check(err, "group")
	defer consumer.Close()
	r := &reader{seen: map[string]int{}, want: want, stop: stop}
	for ctx.Err() == nil {
		check(consumer.Consume(ctx, []string{topic}, r), "consume")
	}
	if len(r.seen) != want {
		log.Fatalf("%s read %d values of %d", group, len(r.seen), want)
	}
	for value, count := range r.seen {
		if count != 1 {
			log.Fatalf("%s came %d times", value, count)
		}
	}
}

func main() {
	brokers := []string{os.Args[1]}
	admin, err := sarama.NewClusterAdmin(brokers, config())
	check(err, "admin")
	check(admin.CreateTopic("sarama", &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false), "create topic")
	check(admin.CreateTopic("sarama-tx", &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false), "create topic")

	codecs := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy,
		sarama.CompressionLZ4, sarama.CompressionZSTD}
	for _, codec := range codecs {
		c := config()
		c.Producer.Compression = codec
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
		producer, err := sarama.NewSyncProducer(brokers, c)
		check(err, "producer")
		var batch []*sarama.ProducerMessage
		for i := range 200 {
			batch = append(batch, &sarama.ProducerMessage{Topic: "sarama", Key: sarama.StringEncoder(fmt.Sprint("k", i%16)),
				Value: sarama.StringEncoder(fmt.Sprintf("%v-%d", codec, i)), Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("v")}}})
		}
		check(producer.SendMessages(batch), "send")
		check(producer.Close(), "close")
	}
	read("sarama", "sarama", 200*len(codecs), config())

	c := config()
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Transaction.ID = "sarama-tx"
	producer, err := sarama.NewSyncProducer(brokers, c)
	check(err, "transactional producer")
	for round := range 6 {
		check(producer.BeginTxn(), "begin")
		for i := range 50 {
			value := fmt.Sprintf("%d-%d", round, i)
			_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "sarama-tx", Value: sarama.StringEncoder(value)})
			check(err, "send in a transaction")
		}
		if round%2 == 0 {
			check(producer.CommitTxn(), "commit")
		} else {
			check(producer.AbortTxn(), "abort")
		}
	}
	check(producer.Close(), "close")
	c = config()
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	read("sarama-tx", "sarama-tx", 150, c)

	groups, err := admin.DescribeConsumerGroups([]string{"sarama"})
	check(err, "describe group")
	if groups[0].State != "Empty" {
		log.Fatalf("the group's state is %s", groups[0].State)
	}
	offsets, err := admin.ListConsumerGroupOffsets("sarama", nil)
	check(err, "list offsets")
	var total int64
	for _, block := range offsets.Blocks["sarama"] {
		total += block.Offset
	}
	if total != 1000 {
		log.Fatalf("committed offsets add up to %d", total)
	}
	check(admin.DeleteConsumerGroup("sarama"), "delete group")
	check(admin.Close(), "close")
	fmt.Println("ok sarama")
}
