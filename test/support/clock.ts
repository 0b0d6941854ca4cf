import { vi } from "vitest";

const DAY_MS = 24 * 3_600_000;

/**
 * From now on time stands still unless the test moves it, for the Worker and the objects alike. It stands a day
 * ahead of the runtime's own time, so that no alarm rings by itself: see TestedObject.
 */
export function stopTime(): void {
  vi.useRealTimers();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + DAY_MS });
}

export function passTime(seconds: number): void {
  vi.setSystemTime(Date.now() + seconds * 1000);
}

export function resumeTime(): void {
  vi.useRealTimers();
}
