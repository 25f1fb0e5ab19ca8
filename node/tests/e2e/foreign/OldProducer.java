import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A producer that knows nothing of this project: Kafka's own client, its own choice of partitions, no
 * headers. Reads lines of topic, key and value, apart by tabs, a byte a character; `-` stands for null.
 */
public class OldProducer {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        var serializer = new ByteArraySerializer();
        var lines = new InputStreamReader(System.in, StandardCharsets.ISO_8859_1);
        try (var producer = new KafkaProducer<byte[], byte[]>(settings, serializer, serializer);
                var input = new BufferedReader(lines)) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                String[] parts = line.split("\t", 3);
                producer.send(new ProducerRecord<>(parts[0], bytes(parts[1]), bytes(parts[2]))).get();
            }
        }
    }

    private static byte[] bytes(String text) {
        return text.equals("-") ? null : text.getBytes(StandardCharsets.ISO_8859_1);
    }
}
