package dev.fts;

import java.util.*;
import java.util.function.*;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.*;
import org.elasticsearch.env.Environment;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.IndexSettings;
import org.elasticsearch.index.analysis.*;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.*;
import org.elasticsearch.rest.*;
import org.elasticsearch.xcontent.XContentBuilder;

/** GET and HEAD "/", and the few parts of text analysis that the index of the security module needs:
    the distribution for integration tests lacks them. */
public class DevPlugin extends Plugin implements ActionPlugin, AnalysisPlugin {
  @Override
  public Collection<RestHandler> getRestHandlers(Settings s, NamedWriteableRegistry n, RestController rc, ClusterSettings cs,
      IndexScopedSettings is, SettingsFilter sf, IndexNameExpressionResolver r, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> f) {
    final String node = s.get("node.name", ""), cluster = s.get("cluster.name", "elasticsearch");
    return List.of(new BaseRestHandler() {
      @Override public String getName() { return "dev_main"; }
      @Override public List<Route> routes() { return List.of(new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/")); }
      @Override protected RestChannelConsumer prepareRequest(RestRequest req, NodeClient c) {
        return ch -> {
          XContentBuilder b = ch.newBuilder();
          // All of it: some clients, Trino's among them, take nothing less.
          Build build = Build.current();
          b.startObject().field("name", node).field("cluster_name", cluster).field("cluster_uuid", cluster).startObject("version")
            .field("number", build.version()).field("build_flavor", "default").field("build_type", "zip")
            .field("build_hash", build.hash()).field("build_date", build.date()).field("build_snapshot", build.isSnapshot())
            .field("lucene_version", org.apache.lucene.util.Version.LATEST.toString())
            .field("minimum_wire_compatibility_version", build.minWireCompatVersion())
            .field("minimum_index_compatibility_version", build.minIndexCompatVersion()).endObject()
            .field("tagline", "You Know, for Search").endObject();
          ch.sendResponse(new RestResponse(RestStatus.OK, b));
        };
      }
    });
  }

  private static TokenFilterFactory filter(String name, Function<TokenStream, TokenStream> f) {
    return new TokenFilterFactory() {
      @Override public String name() { return name; }
      @Override public TokenStream create(TokenStream in) { return f.apply(in); }
    };
  }

  @Override
  public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
    return Map.of(
      "pattern_capture", new AnalysisProvider<TokenFilterFactory>() {
        @Override public TokenFilterFactory get(IndexSettings i, Environment e, String name, Settings s) {
          Pattern[] ps = s.getAsList("patterns").stream().map(Pattern::compile).toArray(Pattern[]::new);
          boolean keep = s.getAsBoolean("preserve_original", true);
          return filter(name, in -> new PatternCaptureGroupTokenFilter(in, keep, ps));
        }
        @Override public boolean requiresAnalysisSettings() { return true; }
      },
      "unique", (i, e, name, s) -> filter(name, RemoveDuplicatesTokenFilter::new));
  }

  @Override
  public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
    return Map.of("uax_url_email", (i, e, name, s) -> new TokenizerFactory() {
      @Override public String name() { return name; }
      @Override public Tokenizer create() { return new UAX29URLEmailTokenizer(); }
    });
  }
}
