// The API by a client whose types are made of the node's own document: what does not fit them does not compile, and lines
// that must not compile say so. Runs against a node whose address is the argument.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Problem = components["schemas"]["Problem"];
declare const process: { argv: string[]; exit(status: number): never };
declare function atob(text: string): string;
declare function btoa(text: string): string;

const [, , url, token] = process.argv;
const api = createClient<paths>({ baseUrl: url!, headers: token ? { Authorization: `Bearer ${token}` } : {} });

function must(condition: unknown, what: string): asserts condition {
    if (!condition) {
        console.error(`FAILED: ${what}`);
        process.exit(1);
    }
}
type Answer<T> = { data?: T; error?: Problem; response: Response };
function good<T>(answer: Answer<T>): T {
    must(answer.error === undefined, `${answer.response.url}: ${JSON.stringify(answer.error)}`);
    return answer.data as T;
}
function refused(answer: Answer<unknown>, code: Problem["code"]) {
    must(answer.error?.code === code, `${answer.response.url}: expected ${code}, got ${JSON.stringify(answer.error ?? answer.data)}`);
}

// Volumes and data.
const made = good(await api.POST("/api/v1/volumes", { body: { name: "typed", size_gb: 1 } }));
must(made.size_bytes === 2 ** 30 && made.name === "typed", "what was made");
const path = { id: "typed" };
good(await api.POST("/api/v1/volumes/{id}/write", { params: { path }, body: { offset: 5, data: btoa("Hello World!") } }));
const read = good(await api.POST("/api/v1/volumes/{id}/read", { params: { path }, body: { offset: 5, length: 12 } }));
must(atob(read.data) === "Hello World!", `read ${read.data}`);
refused(await api.POST("/api/v1/volumes", { body: { name: "typed", size_bytes: 4096 } }), "EEXISTS");
// @ts-expect-error: a size is no text
refused(await api.POST("/api/v1/volumes", { body: { name: "wrong", size_gb: "1" } }), "EINVAL");
refused(await api.POST("/api/v1/volumes", { body: { name: "wrong", size_gb: 1, colour: "red" } }), "EINVAL");

// A condition, snapshots, a clone.
const etag = made.etag;
good(await api.PATCH("/api/v1/volumes/{id}", { params: { path, header: { "If-Match": etag } }, body: { size_gb: 2 } }));
refused(await api.PATCH("/api/v1/volumes/{id}", { params: { path, header: { "If-Match": etag } }, body: { size_gb: 3 } }), "ECHANGED");
good(await api.POST("/api/v1/volumes/{id}/snapshots", { params: { path }, body: { name: "s" } }));
const clone = good(
    await api.POST("/api/v1/volumes/{id}/snapshots/{sid}/clone", { params: { path: { id: "typed", sid: "s" } }, body: { name: "copy" } }),
);
must(clone.origin_id !== null, "a clone knows where it comes from");

// Every page of a list.
for (let i = 0; i < 5; i++) good(await api.POST("/api/v1/volumes", { body: { name: `page${i}`, size_bytes: 4096 } }));
const names: string[] = [];
for (let cursor: string | undefined; ; ) {
    const page = good(await api.GET("/api/v1/volumes", { params: { query: { prefix: "page", limit: 2, ...(cursor ? { cursor } : {}) } } }));
    names.push(...page.volumes.map((volume) => volume.name));
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
}
must(names.join() === "page0,page1,page2,page3,page4", names.join());

// Pods, nodes, figures, analytics, events.
const pods = good(await api.GET("/api/v1/pods"));
must(pods.pods[0]?.members.some((member) => member.self), "the answering node is a member");
must(good(await api.GET("/api/v1/nodes")).nodes.length >= 1, "a node");
const flash = good(await api.GET("/api/v1/metrics/flash"));
must(flash.pods[0]!.scrub.damaged === 0, "nothing is damaged");
const forecast = good(await api.GET("/api/v1/analytics/capacity/forecast", { params: { query: { plan_bytes: 2 ** 30 } } }));
must(forecast.predictions["7_days"] === null && forecast.why !== null, "a new node does not guess");
must(good(await api.GET("/api/v1/analytics/temperature/{id}", { params: { path } })).regions.length > 0, "regions");
must(good(await api.GET("/api/v1/analytics/volume/{id}", { params: { path, query: { step: "minute" } } })).write_latency.requests === 1, "one write");
const volumes = good(await api.GET("/api/v1/analytics")).volumes;
must(volumes.count === 7, JSON.stringify(volumes));
must(good(await api.GET("/api/v1/analytics/health")).drives.length >= 1, "drives");
const events = good(await api.GET("/api/v1/events", { params: { query: { kind: "volume." } } }));
must(typeof events !== "string" && events.events.length > 5, "events");

// And away with it.
const gone = await api.DELETE("/api/v1/volumes/{id}", { params: { path, query: { with_snapshots: true } } });
must(gone.response.status === 204, "deleted");
refused(await api.GET("/api/v1/volumes/{id}", { params: { path } }), "ENOTFOUND");
for (const id of ["copy", ...names]) good(await api.DELETE("/api/v1/volumes/{id}", { params: { path: { id } } }));
console.log("the generated client and the node agree");
