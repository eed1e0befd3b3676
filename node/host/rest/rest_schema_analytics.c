/* What /analytics answers. */
#include "node/host/rest/rest_schema_impl.h"

/* clang-format off */

#define NUMBER_AS(n, m, d)       {.name = n, .type = REST_NUMBER, .offset = AT(m), .doc = d}
#define NUMBER_AS_IF(n, m, k, d) {.name = n, .type = REST_NUMBER_IF, .offset = AT(m), .beside = AT(k), .doc = d}
#define U32_AS(n, m, d)          {.name = n, .type = REST_U32, .offset = AT(m), .doc = d}
#define TEXT_AS(n, m, d)         {.name = n, .type = REST_TEXT, .offset = AT(m), .doc = d}
#define TEXT_AS_OR_NULL(n, m, d) {.name = n, .type = REST_TEXT_OR_NULL, .offset = AT(m), .doc = d}

/* ---- forecast */

#define THIS struct rest_prediction
SCHEMA(rest_forecast_prediction, "Prediction", "Used space at a time to come.",
    U64(used_bytes, "The median"), NUMBER(utilization_percent, "Of the capacity"),
    U64(low_bytes, "The truth is between low and high in 90 of 100 cases"), U64(high_bytes, "See low_bytes"));
#undef THIS

#define THIS struct rest_forecast
#define PREDICTION(n, i) OBJECT_IF(n, predictions[i], predictions[i].known, rest_forecast_prediction, "null: the history is shorter than that")
SCHEMA(rest_forecast_now, "CapacityNow", "The pod's flash now, on the node that leads it.",
    U64_AS("used_bytes", of.used_bytes, "Capacity less free segments"), U64_AS("capacity_bytes", of.capacity_bytes, "Usable flash"),
    NUMBER(utilization_percent, "used : capacity"));
SCHEMA(rest_forecast_predictions, "Predictions", "So many days from now.",
    PREDICTION("7_days", 0), PREDICTION("30_days", 1), PREDICTION("90_days", 2));
#define THRESHOLD(n, m) \
    NUMBER_AS_IF(n, m.days, m.known, "0: it is reached; null: not within searched_days"), \
    NUMBER_AS_IF(n "_earliest", m.earliest, m.earliest_known, "Of the 90 % interval; null: not within searched_days"), \
    NUMBER_AS_IF(n "_latest", m.latest, m.latest_known, "Of the 90 % interval; null: not within searched_days")
SCHEMA(rest_forecast_thresholds, "Thresholds", "When used space reaches a share of the capacity.",
    THRESHOLD("days_until_80_percent", at_80), THRESHOLD("days_until_90_percent", at_90),
    NUMBER_AS("searched_days", of.searched_days, "So far ahead was looked: as far as the history reaches back"));
SCHEMA(rest_forecast, "Forecast", "Where used space is going, as the history of the node that leads the pod tells it.",
    GROUP("current", rest_forecast_now, "Now"), GROUP("predictions", rest_forecast_predictions, "With too little history all are null"),
    GROUP("thresholds", rest_forecast_thresholds, "Crossings"),
    NUMBER_AS("confidence", of.confidence, "Probability to be within 5 % of the capacity of what is predicted, confidence_days ahead; 0 with too little history"),
    U32_AS("confidence_days", of.confidence_days, "See confidence"),
    TEXT_AS("method", of.method, "linear, robust, trend; none: too little history"), {.name = "seasonal", .type = REST_BOOL, .offset = AT(of.seasonal), .doc = "A daily or weekly season is part of it"},
    TEXT_AS_OR_NULL("why", of.why, "How much history there is, when it is too little"),
    NUMBER_AS("growth_bytes_per_day", of.growth_bytes_per_day, "Now"), NUMBER_AS("span_days", of.span_days, "How long the history is"),
    U32_AS("step_seconds", of.step_seconds, "Between samples"), U32_AS("samples", of.samples, "Steps that are known"),
    U32_AS("level_shifts", of.level_shifts, "Taken out of the history"), U32_AS("backtests", of.backtests, "Pasts that the method was tried on"),
    NUMBER_AS("error_vs_linear", of.error_vs_linear, "Back-test: mean absolute error relative to a straight line's; below 1 is better"));
#undef THIS

/* ---- health */

#define THIS struct pstorage_drive
SCHEMA(rest_drive, "Drive", "A flash device. What it does not tell is null.",
    TEXT(node, "Whose it is"), TEXT(name, "Name"), U32(score, "0 to 100"), LINES(reasons, nreasons, "Why it is not 100, and what is not known"),
    NUMBER_IF(wear_mean_cycles, wear_known, "P/E cycles of its erase blocks, mean"), NUMBER_IF(wear_max_cycles, wear_known, "And of the most worn one"),
    NUMBER_AS_IF("days_to_end_of_life", days_left, days_left_known, "Until its rated cycles (PSTORAGE_FLASH_RATED_CYCLES), or the life that it counts, are used, at the pace of its history"),
    U64(blocks, "Erase blocks whose wear is known"), U64(retired_blocks, "Of these, bad ones"), U64(errors_30_days, "Requests that failed"),
    U64(written_30_days_bytes, "Written by the node"),
    {.name = "life_used_percent", .type = REST_U64_IF, .offset = AT(used_percent), .beside = AT(smart_known), .doc = "As an NVMe device counts; may exceed 100"},
    {.name = "spare_percent", .type = REST_U64_IF, .offset = AT(spare_percent), .beside = AT(smart_known), .doc = "What an NVMe device has left of its spare"},
    NUMBER_AS_IF("temperature_celsius", celsius, celsius_known, "Of an NVMe device"), U64_IF(media_errors, smart_known, "That an NVMe device counts"));
#undef THIS
#define THIS struct rest_health
SCHEMA(rest_health, "Health", "All drives of the cluster.",
    LIST("drives", drives, ndrives, rest_drive, "The answering node's first"),
    LINES(unreachable, nunreachable, "Nodes whose drives are not among them, because they did not answer"));
#undef THIS

/* ---- tiering */

#define THIS struct rest_advice
SCHEMA(rest_advice, "TieringAdvice", "Where a volume would be kept at the least cost that its accesses allow. Prices are those of PSTORAGE_TIER_PRICES, placeholders unless it is set.",
    U64_AS("id", of.id, "The volume"), TEXT_AS("name", of.name, "Its name"), U64_AS("logical_bytes", of.logical_bytes, "Blocks that hold data"),
    U64_AS("stored_bytes", of.stored_bytes, "Flash that they take"), TEXT_AS("temperature", of.temperature, "hot, warm, cold or frozen"),
    NUMBER_AS("accesses_per_hour_gib", of.accesses_per_hour_gib, "Of what is stored"), TEXT_AS("current_tier", of.current_tier, "nvme, ssd, hdd or archive"),
    TEXT_AS("recommended_tier", of.tier, "The same words"), TEXT_AS("reason", of.reason, "For people"), NUMBER_AS("cost_now", of.cost_now, "A month"),
    NUMBER_AS("cost_there", of.cost_there, "A month"), NUMBER(saving, "A month"));
#undef THIS
#define THIS struct rest_page
SCHEMA(rest_advice_page, "TieringAdviceList", "Advice, a page of it. Nothing is moved.",
    LIST("volumes", items, count, rest_advice, "In the order of names"),
    TEXT_OR_NULL(next_cursor, "For the parameter cursor: the next page begins there; null on the last one"), U64(total, "On all pages"));
#undef THIS

/* ---- one volume */

#define TEMPERATURE(at) \
    TEXT_AS("temperature", at.temperature, "Of the whole: hot, warm, cold or frozen"), NUMBER_AS("accesses_per_hour_gib", at.accesses_per_hour_gib, "Of what holds data"), \
    NUMBER_AS("reads_per_hour", at.reads_per_hour, "Faded: half of the weight a day"), NUMBER_AS("writes_per_hour", at.writes_per_hour, "Faded likewise"), \
    U64_AS("hot_bytes", at.hot_bytes, "Of the size, by regions"), U64_AS("warm_bytes", at.warm_bytes, "Of the size, by regions"), \
    U64_AS("cold_bytes", at.cold_bytes, "Of the size, by regions"), U64_AS("frozen_bytes", at.frozen_bytes, "Of the size, by regions"), \
    U64_AS("region_bytes", at.region_bytes, "Of a region")

#define THIS struct rest_volume_temperature
SCHEMA(rest_temperature, "Temperature", "How hot a volume is, as the node that leads counts its accesses.",
    U64_AS("id", of.id, "The volume"), TEXT(name, "Its name"), U64_AS("size_bytes", of.size_bytes, "Size"),
    U64_AS("logical_bytes", of.logical_bytes, "Blocks that hold data"), TEMPERATURE(of),
    {.name = "regions", .type = REST_FLOATS, .offset = AT(of.regions), .beside = AT(of.nregions), .doc = "Accesses an hour and GiB of each region, from the volume's begin on"});
#undef THIS

#define THIS struct pstorage_latency_figures
SCHEMA(rest_latency, "Latency", "Of requests that ended well. Quantiles are told as the next power of two: at most twice the truth. 0 without requests.",
    U64(requests, "A count"), NUMBER(mean_us, "Microseconds"), NUMBER(p50_us, "Microseconds"), NUMBER(p95_us, "Microseconds"), NUMBER(p99_us, "Microseconds"));
#undef THIS
#define THIS struct pstorage_volume_point
SCHEMA(rest_volume_point, "VolumePoint", "A stretch of a volume's history. Sizes are means, the rest sums.",
    TIME("time", begin_unix_ns, "Its begin"), U32(samples, "That it is made of"), U64(size_bytes, "Size"), U64(logical_bytes, "Blocks that held data"),
    U64(stored_bytes, "Flash that they took"), U64(reads, "Requests"), U64(writes, "Requests"), U64(read_bytes, "Bytes"), U64(written_bytes, "Bytes"),
    OBJECT("read_latency", read_latency, rest_latency, "Of the reads"), OBJECT("write_latency", write_latency, rest_latency, "Of the writes"));
#undef THIS
#define THIS struct rest_account
SCHEMA(rest_temperature_now, "TemperatureNow", "As under /analytics/temperature, without the regions.", TEMPERATURE(of.now));
SCHEMA(rest_growth, "Growth", "Theil-Sen over the hours of at most 30 days. null: fewer than 24 hours are known.",
    NUMBER_AS_IF("logical_bytes_per_day", of.logical_bytes_per_day, of.growth_known, "Of blocks that hold data"),
    NUMBER_AS_IF("stored_bytes_per_day", of.stored_bytes_per_day, of.growth_known, "Of flash that they take"), NUMBER_AS("days", of.growth_days, "Looked at"));
SCHEMA(rest_history, "VolumeHistory", "Points of history. A stretch without a point: the volume was idle, or the node did not run.",
    TEXT(step, "minute, hour or day"), LIST("points", of.points, of.npoints, rest_volume_point, "The newest, oldest first"),
    TEXT_OR_NULL(next_cursor, "For the parameter cursor: the page of those before; null: there are none"));
SCHEMA(rest_account, "VolumeAnalytics", "What is known of a volume, as the node that leads sampled it.",
    U64_AS("id", of.now.id, "The volume"), TEXT(name, "Its name"), U64_AS("size_bytes", of.now.size_bytes, "Size"),
    U64_AS("logical_bytes", of.now.logical_bytes, "Blocks that hold data"), U64_AS("stored_bytes", of.stored_bytes, "Flash that they take"),
    NUMBER(reduction_ratio, "logical : stored; 0 while nothing is stored"), GROUP("growth", rest_growth, "Where it is going"),
    OBJECT("read_latency", of.read_latency, rest_latency, "Of the last 24 hours"), OBJECT("write_latency", of.write_latency, rest_latency, "Of the last 24 hours"),
    GROUP("temperature", rest_temperature_now, "How hot it is"), GROUP("history", rest_history, "Its points"));
#undef THIS

/* ---- overview */

#define THIS struct rest_overview
SCHEMA(rest_overview_capacity, "CapacityOverview", "See /analytics/capacity/forecast.",
    U64_AS("used_bytes", capacity.of.used_bytes, "Now"), U64_AS("capacity_bytes", capacity.of.capacity_bytes, "Usable flash"),
    NUMBER_AS("utilization_percent", capacity.utilization_percent, "used : capacity"), NUMBER_AS("growth_bytes_per_day", capacity.of.growth_bytes_per_day, "0 with too little history"),
    NUMBER_AS_IF("days_until_80_percent", capacity.at_80.days, capacity.at_80.known, "0: it is reached; null: not within as many days as the history is long"),
    NUMBER_AS_IF("days_until_90_percent", capacity.at_90.days, capacity.at_90.known, "0: it is reached; null: not within as many days as the history is long"),
    NUMBER_AS("confidence", capacity.of.confidence, "Of the forecast; 0 with too little history"), TEXT_AS_OR_NULL("why", capacity.of.why, "How much history there is, when it is too little"));
SCHEMA(rest_overview_drives, "DrivesOverview", "See /analytics/health.",
    U64_AS("count", drives, "Drives that were heard of"), {.name = "lowest_score", .type = REST_U64_IF, .offset = AT(lowest_score), .beside = AT(scored), .doc = "0 to 100; null: there is none"},
    LINES(unreachable, nunreachable, "Nodes that did not answer"));
SCHEMA(rest_overview_volumes, "VolumesOverview", "See /analytics/tiering/recommendations.",
    U64_AS("count", volumes, "Volumes that are sampled by name"), U64(hot, "A count"), U64(warm, "A count"), U64(cold, "A count"), U64(frozen, "A count"),
    U64(better_elsewhere, "For which another tier is recommended"), NUMBER(saving, "A month, by these recommendations"));
SCHEMA(rest_analytics, "Analytics", "An overview.",
    GROUP("capacity", rest_overview_capacity, "Where space is going"), GROUP("drives", rest_overview_drives, "How the drives are"),
    GROUP("volumes", rest_overview_volumes, "How hot volumes are"));
#undef THIS
/* clang-format on */
