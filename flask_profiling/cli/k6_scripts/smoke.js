// Does every path answer? One visitor, a few rounds. PATHS are separated by spaces.
import http from 'k6/http';
import { check } from 'k6';

const base = __ENV.BASE_URL;
const paths = (__ENV.PATHS || '/').split(' ');

export const options = {
  vus: 1,
  iterations: Number(__ENV.ITERATIONS || 5),
  thresholds: { checks: ['rate==1'] },
};

export default function () {
  for (const path of paths) {
    const answer = http.get(base + path, { tags: { name: path } });
    check(answer, { 'status is below 400': (found) => found.status > 0 && found.status < 400 });
  }
}
