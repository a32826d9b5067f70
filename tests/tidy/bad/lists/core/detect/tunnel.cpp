// A detector that nobody makes.
class Tunnel final : public Detector {};
