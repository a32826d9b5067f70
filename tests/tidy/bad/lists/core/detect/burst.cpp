// A detector that is made.
class Burst : public Detector {};
