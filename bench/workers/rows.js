/**
 * The bundle as it is, with every row that it writes counted as the runtime counts (and Cloudflare bills) it, every
 * alarm that it sets, every one that goes off, and every request or call that its objects get. `GET /bench/rows` tells,
 * for all objects together.
 */
import gateway, * as holdfast from "./holdfast.js";

const counted = { rowsWritten: 0, alarmsSet: 0, alarmsRun: 0, deleteAlls: 0, objectRequests: 0 };

export default {
  ...gateway,
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/bench/rows") return Response.json(counted);
    return gateway.fetch(request, env, ctx);
  },
};

export const Conversation = counting(holdfast.Conversation);
export const Tenant = counting(holdfast.Tenant);
export const Directory = counting(holdfast.Directory);

/** What has a name in a class's prototype is what can be called from outside: the rest is private by `#`. */
function counting(Original) {
  const Counting = class extends Original {
    constructor(ctx, env) {
      count(ctx.storage);
      super(ctx, env);
    }
  };
  for (const name of Object.getOwnPropertyNames(Original.prototype)) {
    const method = Object.getOwnPropertyDescriptor(Original.prototype, name)?.value;
    if (name === "constructor" || typeof method !== "function") continue;
    Counting.prototype[name] = function (...args) {
      counted[name === "alarm" ? "alarmsRun" : "objectRequests"]++;
      return method.apply(this, args);
    };
  }
  return Counting;
}

function count(storage) {
  const { sql } = storage;
  const exec = sql.exec.bind(sql);
  const setAlarm = storage.setAlarm.bind(storage);
  const deleteAll = storage.deleteAll.bind(storage);
  sql.exec = (...args) => {
    const cursor = exec(...args);
    counted.rowsWritten += cursor.rowsWritten;
    return cursor;
  };
  storage.setAlarm = (...args) => {
    counted.alarmsSet++;
    return setAlarm(...args);
  };
  storage.deleteAll = (...args) => {
    counted.deleteAlls++;
    return deleteAll(...args);
  };
}
