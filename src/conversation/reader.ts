/**
 * One client being fed from an offset. It pulls: when the client takes no bytes nothing is asked of the session, so a
 * stalled client costs neither memory nor anybody's time. Its offset is all the state there is.
 */
import { OffsetLostError } from "./replay-log.ts";
import type { Session } from "./session.ts";

/**
 * The session's bytes from `from` on, then its live bytes, then a clean end when it has ended. Errors (the connection is
 * cut, not ended) when the reader lags so far that its next byte was dropped.
 */
export function readFrom(session: Session, from: number): ReadableStream<Uint8Array> {
  let offset = from;
  let isAttached = true;
  session.attach();
  const leave = () => {
    if (isAttached) session.detach();
    isAttached = false;
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          while (isAttached) {
            const bytes = session.log.read(offset);
            if (bytes) {
              offset += bytes.length;
              controller.enqueue(bytes);
              return;
            }
            if (session.isDrained) {
              controller.close();
              leave();
              return;
            }
            await session.changed();
          }
        } catch (error) {
          leave();
          if (!(error instanceof OffsetLostError)) throw error;
          controller.error(error);
        }
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
}
