/**
 * The bundle as it is, with every row that it writes counted as the runtime counts (and Cloudflare bills) it, every
 * alarm that it sets, and every one that goes off. `GET /bench/rows` tells, for all objects together.
 */

/**
 * The bundle as it is, with every row that it writes counted as the runtime counts (and Cloudflare bills) it, every
 * alarm that it sets, and every one that goes off. `GET /bench/rows` tells, for all objects together.
 */
import gateway, { Conversation as Original } from "./holdfast.js";

const counted = { rowsWritten: 0, alarmsSet: 0, alarmsRun: 0, deleteAlls: 0, objectRequests: 0 };

export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/bench/rows") return Response.json(counted);
    return gateway.fetch(request, env, ctx);
  },
};

export class Conversation extends Original {
  constructor(ctx, env) {
    count(ctx.storage);
    super(ctx, env);
  }

  fetch(request) {
    counted.objectRequests++;
    return super.fetch(request);
  }

  alarm(info) {
    counted.alarmsRun++;
    return super.alarm(info);
  }
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
